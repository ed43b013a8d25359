package engine

import (
	"sluice/internal/core/plan"
	"sluice/internal/traffic/entrypoint"
)

type tcpService struct{}

func (s *tcpService) publish() {}
func (s *tcpService) close()   {}

func (b *build) tcpRouter(r *plan.TCPRouter) entrypoint.TCPRouter {
	return entrypoint.TCPRouter{Name: r.Name.String()}
}
