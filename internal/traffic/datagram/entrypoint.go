package datagram

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/observe/record"
	"sluice/internal/traffic/faultlog"
	"sluice/internal/wire/flow"
	"sluice/internal/wire/sock"
)

const (
	// maxTries bounds how many servers one datagram is offered to.
	maxTries = 8
	// pause is how long reading rests after an error that is not the end.
	pause = 20 * time.Millisecond
)

// Current is the one place that says what is in force. It is read for each datagram.
type Current = atomic.Pointer[Generation]

// Options are what is fixed for the life of an entry point.
type Options struct {
	// Name is the name in the configuration, Position its place in each Generation.
	Name     string
	Position int
	// Socket is the bound socket. It belongs to the entry point.
	Socket *net.UDPConn
	// Timeout ends a session in which nothing moves. It must be more than zero.
	Timeout time.Duration
	// MaxSessions bounds the sessions, each of which has a descriptor: one more takes the place of the one that has been
	// silent longest. It must be more than zero.
	MaxSessions int
	// AcceptGrace is how long new sessions begin after Shutdown began, Grace how long those there are may then go on.
	AcceptGrace, Grace time.Duration
	// Current says what is in force. It must hold a generation before Run is called.
	Current *Current
	// Sink hears of every session that has ended; nil for nobody.
	Sink record.Sink
	Log  *slog.Logger
}

// EntryPoint is one address that we take datagrams on.
type EntryPoint struct {
	o      Options
	socket *sock.Datagrams
	flows  flow.Group // while Run runs
	faults *faultlog.Log
	start  time.Time
	ending sync.WaitGroup // sessions that have ended and are being reported

	mu       sync.Mutex
	sessions map[key]*session
	idle     session // head of the list of sessions: the next one has been silent shortest, the previous one longest
	sweeper  *time.Timer
	draining bool
	empty    chan struct{} // closed when the last session ends while draining
}

// New makes an entry point; nothing is read before Run.
func New(o Options) *EntryPoint {
	e := &EntryPoint{o: o, socket: sock.NewDatagrams(o.Socket), start: time.Now(), sessions: map[key]*session{},
		faults: faultlog.New(o.Log.With("entryPointName", o.Name)), empty: make(chan struct{})}
	e.idle.prev, e.idle.next = &e.idle, &e.idle
	e.sweeper = time.AfterFunc(time.Hour, e.sweep)
	e.sweeper.Stop()
	return e
}

// Name returns the name in the configuration.
func (e *EntryPoint) Name() string { return e.o.Name }

// Addr returns the address that is listened on.
func (e *EntryPoint) Addr() net.Addr { return e.socket.Addr() }

// Open returns the number of sessions.
func (e *EntryPoint) Open() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.sessions)
}

// Run takes datagrams until Shutdown has ended all sessions. It is called once.
func (e *EntryPoint) Run() {
	e.flows = flow.New()
	defer e.flows.Close() // Shutdown has closed all of them
	buf := make([]byte, sock.MaxDatagram)
	for {
		n, client, local, err := e.socket.Read(buf)
		switch {
		case err == nil:
			e.datagram(buf[:n], key{client, local})
		case errors.Is(err, net.ErrClosed):
			return
		default:
			e.faults.Tell(fault.New(fault.Internal, "reading datagrams", err), "")
			time.Sleep(pause)
		}
	}
}

// datagram hands a client's datagram to its server. A server that is found to be out of reach is replaced at once.
func (e *EntryPoint) datagram(p []byte, k key) {
	route := e.route()
	s := e.find(k)
	if s != nil && !s.routed(route) {
		e.end(s, nil, record.Done)
		s = nil
	}
	for range maxTries {
		if s == nil {
			if s = e.begin(k, route); s == nil {
				return
			}
		}
		err := s.send(p)
		if err == nil {
			return
		}
		e.fail(s, err)
		s = nil
	}
}

// route returns what is in force.
func (e *EntryPoint) route() *Route { return e.o.Current.Load().Routes[e.o.Position] }

// find returns the session of a client, and notes that it is in use.
func (e *EntryPoint) find(k key) *session {
	now := e.now()
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.sessions[k]
	if s != nil {
		e.refresh(s, now)
	}
	return s
}

func (e *EntryPoint) now() int64 { return int64(time.Since(e.start)) }

// touch notes that a session is in use; false if it has ended.
func (e *EntryPoint) touch(s *session) bool {
	now := e.now()
	e.mu.Lock()
	defer e.mu.Unlock()
	if s.gone {
		return false
	}
	e.refresh(s, now)
	return true
}

func (e *EntryPoint) refresh(s *session, now int64) {
	s.seen = now
	s.unlink()
	s.link(&e.idle)
}

// begin makes a session with a server that takes it; nil where there is none, or no session may begin any more.
func (e *EntryPoint) begin(k key, route *Route) *session {
	if route.Service == nil {
		return nil
	}
	for range maxTries {
		t := route.Service.choose(k.client.Addr())
		if t == nil {
			e.faults.Tell(fault.New(fault.NoServer, "the service "+route.Service.name+" has no server", nil), k.client.String(),
				slog.String("routerName", route.Router), slog.String("serviceName", route.Service.name))
			return nil
		}
		s := &session{e: e, key: k, source: e.socket.Source(k.local), server: t, start: time.Now(), router: route.Router,
			service: route.Service.name}
		s.checked.Store(route)
		if !e.insert(s) {
			return nil
		}
		to, ok := t.resolve(s)
		if !ok {
			return s
		}
		switch err := e.open(s, to); {
		case err == nil:
			return s
		case flow.Exhausted(err):
			return nil
		}
	}
	return nil
}

// open connects a session to its server, in place of another session where there are no sockets left. After an error the
// session has ended; want of sockets is not held against the server.
func (e *EntryPoint) open(s *session, to netip.AddrPort) error {
	err := s.connect(to)
	if err != nil && flow.Exhausted(err) && e.evict(s) {
		err = s.connect(to)
	}
	switch {
	case err == nil:
	case flow.Exhausted(err):
		e.end(s, fault.New(fault.OutOfBudget, "no socket for a UDP session", err), record.Connecting)
	default:
		e.fail(s, err)
	}
	return err
}

// insert adds a session, in place of another one if there are too many; false while we stop.
func (e *EntryPoint) insert(s *session) bool {
	e.mu.Lock()
	if e.draining {
		e.mu.Unlock()
		return false
	}
	full := len(e.sessions) >= e.o.MaxSessions
	if len(e.sessions) == 0 {
		e.sweeper.Reset(e.o.Timeout)
	}
	s.seen = e.now()
	e.sessions[s.key] = s
	s.link(&e.idle)
	e.mu.Unlock()
	if full {
		e.evict(s)
	}
	return true
}

// evict ends the session that has been silent longest, unless that is s.
func (e *EntryPoint) evict(s *session) bool {
	e.mu.Lock()
	oldest := e.idle.prev
	e.mu.Unlock()
	if oldest == s || oldest == &e.idle {
		return false
	}
	e.end(oldest, fault.New(fault.OutOfBudget, "too many UDP sessions: the one that was silent longest ends", nil), record.Data)
	return true
}

// sweep ends the sessions that have been silent for too long.
func (e *EntryPoint) sweep() {
	for {
		e.mu.Lock()
		oldest := e.idle.prev
		if oldest == &e.idle {
			e.mu.Unlock()
			return
		}
		if left := e.o.Timeout - time.Duration(e.now()-oldest.seen); left > 0 {
			// Not sooner than a tenth of the timeout, so that thousands of sessions end in few rounds.
			e.sweeper.Reset(max(left, e.o.Timeout/10))
			e.mu.Unlock()
			return
		}
		e.mu.Unlock()
		e.end(oldest, nil, record.Done)
	}
}

// fail ends a session whose server cannot be reached; the server is passed over for a while.
func (e *EntryPoint) fail(s *session, err error) {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled) {
		e.end(s, nil, record.Done)
		return
	}
	s.server.failed()
	phase := record.Connecting
	if s.out.Load() > 0 {
		phase = record.Data
	}
	e.end(s, s.unreachable(err), phase)
}

// end ends a session, once.
func (e *EntryPoint) end(s *session, f *fault.Fault, phase record.Phase) {
	e.mu.Lock()
	if s.gone {
		e.mu.Unlock()
		return
	}
	s.gone = true
	e.ending.Add(1)
	defer e.ending.Done()
	delete(e.sessions, s.key)
	s.unlink()
	if len(e.sessions) == 0 {
		e.sweeper.Stop()
		if e.draining {
			close(e.empty)
		}
	}
	e.mu.Unlock()
	s.close()
	e.report(s, f, phase)
}

// report tells of a session that has ended.
func (e *EntryPoint) report(s *session, f *fault.Fault, phase record.Phase) {
	if f != nil {
		e.faults.Tell(f, s.key.client.String(), slog.String("routerName", s.router), slog.String("serviceName", s.service),
			slog.String("server", s.server.address), slog.String("phase", phase.String()))
	}
	if e.o.Sink == nil {
		return
	}
	r := record.Record{EntryPoint: e.o.Name, Router: s.router, Service: s.service, Server: s.server.address, UDP: true,
		Client: s.key.client, Local: e.local(s), BytesIn: s.in.Load(), BytesOut: s.out.Load(), Start: s.start, Duration: time.Since(s.start),
		Fault: f, Phase: phase}
	if f != nil {
		r.EndedBy = f.Kind.Side()
	}
	e.o.Sink.Record(&r)
}

// local returns the address that a session's client sent to.
func (e *EntryPoint) local(s *session) netip.AddrPort {
	bound := e.socket.Addr().(*net.UDPAddr).AddrPort()
	if s.key.local.IsValid() {
		return netip.AddrPortFrom(s.key.local, bound.Port())
	}
	return netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port())
}

// Shutdown ends the entry point: sessions begin for the accept grace, those there are go on for the grace, and what is left
// is cut. ctx ends both waits early. It returns how many sessions were cut.
func (e *EntryPoint) Shutdown(ctx context.Context) (cut int) {
	rest(ctx, e.o.AcceptGrace, nil)
	e.mu.Lock()
	e.draining = true
	if len(e.sessions) == 0 {
		close(e.empty)
	}
	e.mu.Unlock()
	rest(ctx, e.o.Grace, e.empty)
	for {
		e.mu.Lock()
		s := e.idle.prev
		e.mu.Unlock()
		if s == &e.idle {
			break
		}
		e.end(s, fault.New(fault.ShuttingDown, "the session was cut by us", nil), record.Data)
		cut++
	}
	_ = e.socket.Close() // nothing is left to be done about it
	e.ending.Wait()
	return cut
}

// rest waits for d, until ctx ends or until done is closed.
func rest(ctx context.Context, d time.Duration, done <-chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, max(d, 0))
	defer cancel()
	select {
	case <-ctx.Done():
	case <-done:
	}
}

// link puts s behind head: it has been silent shortest.
func (s *session) link(head *session) {
	s.prev, s.next = head, head.next
	head.next.prev = s
	head.next = s
}

func (s *session) unlink() {
	s.prev.next, s.next.prev = s.next, s.prev
	s.prev, s.next = nil, nil
}
