package acme

type demand struct{ m *Manager }

func newDemand(m *Manager) *demand { return &demand{m} }
func (d *demand) wants() []Want    { return nil }
