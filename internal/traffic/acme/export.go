package acme

func (m *Manager) export([]*entry) {}
