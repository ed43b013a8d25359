//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// wrk runs the program of that name over HTTP/1.1.
func wrk(scheme, path string, connections int, kind string, n int) load {
	return func(ctx context.Context, w *world, t *target, d time.Duration) (sample, error) {
		address := t.http
		if scheme == "https" {
			address = t.tls
		}
		if address == "" {
			return sample{}, errNothing
		}
		tool := program("wrk")
		if tool == "" {
			return sample{}, errors.New("wrk is not installed")
		}
		script := filepath.Join(w.dir, "load.lua")
		if _, err := os.Stat(script); err != nil {
			text, err := confFiles.ReadFile("conf/load.lua")
			if err != nil {
				return sample{}, err
			}
			if err := os.WriteFile(script, text, 0o644); err != nil {
				return sample{}, err
			}
		}
		out, err := output(ctx, d+30*time.Second, tool, "-t", "1", "-c", strconv.Itoa(connections), "-d", seconds(d),
			"-s", script, scheme+"://"+address+path, "--", host, kind, strconv.Itoa(n))
		if err != nil {
			return sample{}, err
		}
		_, line, _ := strings.Cut(out, "RESULT ")
		var r struct {
			Requests, Errors      int
			Seconds, P50us, P99us float64
		}
		if err := json.NewDecoder(strings.NewReader(line)).Decode(&r); err != nil {
			return sample{}, fmt.Errorf("wrk said something unexpected: %q", out)
		}
		return sample{
			units: r.Requests, errors: r.Errors, elapsed: time.Duration(r.Seconds * 1e9),
			p50: time.Duration(r.P50us * 1e3), p99: time.Duration(r.P99us * 1e3),
		}, nil
	}
}

// seconds is a duration as the load generators take it: whole seconds.
func seconds(d time.Duration) string { return strconv.Itoa(max(1, int(math.Ceil(d.Seconds())))) }

var h2Requests = regexp.MustCompile(`requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded`)
var h2Finished = regexp.MustCompile(`finished in ([0-9.]+)(us|ms|s)`)

// h2load runs the program of that name over HTTP/2 and TLS.
func h2load(ctx context.Context, w *world, t *target, d time.Duration) (sample, error) {
	if t.tls == "" {
		return sample{}, errNothing
	}
	tool := program("h2load")
	if tool == "" {
		return sample{}, errors.New("h2load is not installed")
	}
	log := filepath.Join(w.dir, "h2load.log")
	defer os.Remove(log)
	out, err := output(ctx, d+30*time.Second, tool, "-t", "1", "-c", "8", "-m", "16", "-D", seconds(d),
		"--tls13-ciphers=TLS_AES_128_GCM_SHA256", "--log-file="+log, "--connect-to="+t.tls, "https://"+host+"/")
	if err != nil {
		return sample{}, err
	}
	m, f := h2Requests.FindStringSubmatch(out), h2Finished.FindStringSubmatch(out)
	if m == nil || f == nil || !strings.Contains(out, "Application protocol: h2") {
		return sample{}, fmt.Errorf("h2load said something unexpected: %q", out)
	}
	done, _ := strconv.Atoi(m[1])
	good, _ := strconv.Atoi(m[2])
	elapsed, err := time.ParseDuration(f[1] + f[2])
	if err != nil {
		return sample{}, err
	}
	s := sample{units: good, errors: done - good, elapsed: elapsed}
	b, err := os.ReadFile(log)
	if err != nil {
		return sample{}, err
	}
	var times []time.Duration
	for line := range bytes.Lines(b) {
		if f := bytes.Fields(line); len(f) >= 3 {
			n, _ := strconv.Atoi(string(f[2]))
			times = append(times, time.Duration(n)*time.Microsecond)
		}
	}
	s.p50, s.p99 = percentiles(times)
	return s, nil
}

func percentiles(times []time.Duration) (p50, p99 time.Duration) {
	if len(times) == 0 {
		return 0, 0
	}
	slices.Sort(times)
	return times[len(times)/2], times[len(times)*99/100]
}

// workers repeat one piece of work until the time is over. A piece gives how many units it did.
func workers(ctx context.Context, n int, d time.Duration, piece func(ctx context.Context, worker int) (int, error)) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, d+10*time.Second)
	defer cancel()
	var (
		mu    sync.Mutex
		total sample
		times []time.Duration
		last  error
		wg    sync.WaitGroup
	)
	start := time.Now()
	for i := range n {
		wg.Go(func() {
			var own []time.Duration
			var units, failed int
			var err error
			for time.Since(start) < d && ctx.Err() == nil {
				began := time.Now()
				u, e := piece(ctx, i)
				if e != nil {
					failed, err = failed+1, e
					time.Sleep(time.Millisecond) // a target that is down must not be hammered
					continue
				}
				units += u
				own = append(own, time.Since(began))
			}
			mu.Lock()
			defer mu.Unlock()
			times = append(times, own...)
			total.units += units
			total.errors += failed
			if err != nil {
				last = err
			}
		})
	}
	wg.Wait()
	total.elapsed = time.Since(start)
	total.p50, total.p99 = percentiles(times)
	if total.units == 0 && last != nil {
		return total, last
	}
	return total, nil
}

// dialFrom connects from a loopback address of the worker's own, so that closed connections in TIME_WAIT don't use up
// one address's ports.
func dialFrom(ctx context.Context, worker int, address string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+worker))}}
	c, err := d.DialContext(ctx, "tcp", address)
	if err == nil {
		c.SetDeadline(time.Now().Add(10 * time.Second))
	}
	return c, err
}

// handshakes opens a TLS connection for each request. The key exchange is fixed, because peers differ in what they offer.
func handshakes(name string, group tls.CurveID, resume bool) load {
	return func(ctx context.Context, w *world, t *target, d time.Duration) (sample, error) {
		if t.tls == "" {
			return sample{}, errNothing
		}
		const n = 8
		var configs [n]*tls.Config
		var resumed, all [n]int
		for i := range configs {
			configs[i] = &tls.Config{
				ServerName: name, InsecureSkipVerify: true, // a throw-away certificate
				MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{group}, NextProtos: []string{"http/1.1"},
			}
			if resume {
				configs[i].ClientSessionCache = tls.NewLRUClientSessionCache(4)
			}
		}
		request := []byte("GET / HTTP/1.1\r\nHost: " + name + "\r\nConnection: close\r\n\r\n")
		s, err := workers(ctx, n, d, func(ctx context.Context, i int) (int, error) {
			raw, err := dialFrom(ctx, i, t.tls)
			if err != nil {
				return 0, err
			}
			defer raw.Close()
			c := tls.Client(raw, configs[i])
			if _, err := c.Write(request); err != nil {
				return 0, err
			}
			b, err := io.ReadAll(c)
			if err != nil || !bytes.HasPrefix(b, []byte("HTTP/1.1 200 ")) {
				return 0, fmt.Errorf("answer %.40q: %v", b, err)
			}
			all[i]++
			if c.ConnectionState().DidResume {
				resumed[i]++
			}
			return 1, nil
		})
		if resume && err == nil {
			done, of := 0, 0
			for i := range n {
				done, of = done+resumed[i], of+all[i]
			}
			s.note = fmt.Sprintf("%.1f %% resumed", 100*float64(done)/float64(max(of, 1)))
		}
		return s, err
	}
}

// clientHello is the first flight of a real TLS client, without post-quantum keys, so that one segment holds it.
func clientHello(name string) ([]byte, error) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	go tls.Client(theirs, &tls.Config{ServerName: name, CurvePreferences: []tls.CurveID{tls.X25519}, NextProtos: []string{"h2", "http/1.1"}}).Handshake()
	b := make([]byte, 16<<10)
	n, err := ours.Read(b)
	return b[:n], err
}

func passthroughConnect(ctx context.Context, w *world, t *target, d time.Duration) (sample, error) {
	if t.small == "" {
		return sample{}, errNothing
	}
	hello, err := clientHello(smallHost)
	if err != nil {
		return sample{}, err
	}
	// The client's Finished and its request, as one record of the size that they have.
	request := append([]byte{0x17, 3, 3, 0, 200}, make([]byte, 200)...)
	return workers(ctx, 16, d, func(ctx context.Context, i int) (int, error) {
		c, err := dialFrom(ctx, i, t.small)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		var b [1500]byte
		if _, err = c.Write(hello); err == nil {
			_, err = io.ReadFull(c, b[:])
		}
		if err == nil {
			_, err = c.Write(request)
		}
		if err == nil {
			_, err = io.ReadFull(c, b[:300])
		}
		if err == nil {
			if _, end := c.Read(b[:]); end != io.EOF {
				err = fmt.Errorf("the tunnel did not end with its machine: %v", end)
			}
		}
		return 1, err
	})
}

func passthroughBulk(ctx context.Context, w *world, t *target, d time.Duration) (sample, error) {
	if t.bulk == "" {
		return sample{}, errNothing
	}
	hello, err := clientHello(bulkHost)
	if err != nil {
		return sample{}, err
	}
	var buffers [4][]byte
	for i := range buffers {
		buffers[i] = make([]byte, 256<<10)
	}
	s, err := workers(ctx, len(buffers), d, func(ctx context.Context, i int) (int, error) {
		n, err := tunnel(ctx, i, t.bulk, hello, buffers[i])
		if err == nil && n != 64<<20 {
			err = fmt.Errorf("%d bytes came back", n)
		}
		return int(n >> 20), err
	})
	s.p50, s.p99 = 0, 0 // the time of a 64 MiB transfer is throughput once more
	return s, err
}

// tunnel sends a ClientHello and reads to the end, into the same buffer again and again.
func tunnel(ctx context.Context, worker int, address string, hello, buffer []byte) (int64, error) {
	c, err := dialFrom(ctx, worker, address)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if _, err := c.Write(hello); err != nil {
		return 0, err
	}
	var n int64
	for {
		m, err := c.Read(buffer)
		n += int64(m)
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// besideSlowReaders is the plain load while many clients read large bodies slowly. The slow ones open before the measured
// time begins to count for wrk, so their requests are few among wrk's; their waiting is what costs.
func besideSlowReaders(ctx context.Context, w *world, t *target, d time.Duration) (sample, error) {
	const readers = 500
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer func() { cancel(); wg.Wait() }()
	request := []byte("GET /1m HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
	open := make(chan error, readers)
	for i := range readers {
		wg.Go(func() {
			c, err := dialFrom(ctx, i%8, t.http)
			if err == nil {
				defer c.Close()
				c.(*net.TCPConn).SetReadBuffer(16 << 10)
				c.SetDeadline(time.Now().Add(d + time.Minute))
				_, err = c.Write(request)
			}
			open <- err
			b := make([]byte, 4<<10)
			for tick := time.NewTicker(100 * time.Millisecond); err == nil; {
				select {
				case <-ctx.Done():
					tick.Stop()
					return
				case <-tick.C:
					_, err = c.Read(b)
				}
			}
		})
	}
	for range readers {
		if err := <-open; err != nil {
			return sample{}, fmt.Errorf("slow reader: %w", err)
		}
	}
	return wrk("http", "/", 64, "get", 0)(ctx, w, t, d)
}

// webSocketEcho sends messages on connections that stay open, the next when the last has come back.
func webSocketEcho(ctx context.Context, w *world, t *target, d time.Duration) (sample, error) {
	const n = 32
	conns := make([]net.Conn, n)
	defer func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	}()
	request := []byte("GET /ws HTTP/1.1\r\nHost: " + host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2x1aWNlLWJlbmNobWFyaw==\r\n\r\n")
	for i := range conns {
		c, err := dialFrom(ctx, i, t.http)
		if err != nil {
			return sample{}, err
		}
		conns[i] = c
		c.SetDeadline(time.Now().Add(d + time.Minute))
		if _, err := c.Write(request); err != nil {
			return sample{}, err
		}
		head := make([]byte, 0, 1024)
		for !bytes.HasSuffix(head, []byte("\r\n\r\n")) { // a byte at a time, to leave what follows alone
			if len(head) == cap(head) {
				return sample{}, fmt.Errorf("answer %.60q", head)
			}
			m, err := c.Read(head[len(head) : len(head)+1])
			if err != nil {
				return sample{}, err
			}
			head = head[:len(head)+m]
		}
		if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
			return sample{}, fmt.Errorf("answer %.60q", head)
		}
	}
	message := append([]byte{0x82, 0x80 | 64, 0, 0, 0, 0}, make([]byte, 64)...) // a mask of zeros changes nothing
	return workers(ctx, n, d, func(ctx context.Context, i int) (int, error) {
		if _, err := conns[i].Write(message); err != nil {
			return 0, err
		}
		var echo [66]byte
		if _, err := io.ReadFull(conns[i], echo[:]); err != nil {
			return 0, err
		}
		return 1, nil
	})
}

// idle opens many connections, sends one request on each and measures how much the proxy has grown when all are idle.
func idle(secure bool) load {
	return func(ctx context.Context, w *world, t *target, d time.Duration) (sample, error) {
		address := t.http
		if secure {
			address = t.tls
		}
		if t.process == nil || address == "" {
			return sample{}, errNothing
		}
		// Some connections come and go first: what a process allocates once is not a connection's memory.
		warm, err := openIdle(ctx, address, secure, 200)
		closeAll(warm)
		if err != nil {
			return sample{}, err
		}
		pause(ctx, time.Second)
		before, err := t.memory()
		if err != nil {
			return sample{}, err
		}
		const n = 5000
		start := time.Now()
		open, err := openIdle(ctx, address, secure, n)
		defer closeAll(open)
		if err != nil {
			return sample{}, err
		}
		elapsed := time.Since(start)
		pause(ctx, 3*time.Second)
		after, err := t.memory()
		return sample{units: n, elapsed: elapsed, perConn: (after - before) / n}, err
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func closeAll(conns []net.Conn) {
	for _, c := range conns {
		c.Close()
	}
}

// openIdle opens n connections with one answered request each. On an error it gives those that are open all the same.
func openIdle(ctx context.Context, address string, secure bool, n int) ([]net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	request := []byte("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
	const parallel = 8
	var (
		mu    sync.Mutex
		open  []net.Conn
		first error
		wg    sync.WaitGroup
	)
	for i := range parallel {
		wg.Go(func() {
			b := make([]byte, 4096)
			for range n / parallel {
				c, err := dialFrom(ctx, i, address)
				if err == nil {
					mu.Lock()
					open = append(open, c)
					mu.Unlock()
					if secure {
						c = tls.Client(c, &tls.Config{ServerName: host, InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
					}
					if _, err = c.Write(request); err == nil {
						var m int
						if m, err = c.Read(b); err == nil && !bytes.HasPrefix(b[:m], []byte("HTTP/1.1 200 ")) {
							err = fmt.Errorf("answer %.40q", b[:m])
						}
					}
				}
				if err != nil {
					mu.Lock()
					first = err
					mu.Unlock()
					return
				}
			}
		})
	}
	wg.Wait()
	return open, first
}
