package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// sshDialer returns what connects to an engine through the ssh client of the system, which brings its own keys, agents and
// known hosts. On the far side `docker system dial-stdio` hands the bytes on.
func sshDialer(u *url.URL) (func(context.Context) (net.Conn, error), error) {
	host, user := u.Hostname(), u.User.Username()
	if _, given := u.User.Password(); given {
		return nil, errors.New("an ssh endpoint takes no password: use a key")
	}
	// What begins with a dash would be an option of the command.
	if host == "" || strings.HasPrefix(host, "-") || strings.HasPrefix(user, "-") {
		return nil, fmt.Errorf("%q is no ssh endpoint such as ssh://user@host", clip(u.Redacted()))
	}
	args := []string{"-o", "ConnectTimeout=30", "-o", "BatchMode=yes", "-T"}
	if user != "" {
		args = append(args, "-l", user)
	}
	if u.Port() != "" {
		args = append(args, "-p", u.Port())
	}
	args = append(args, "--", host, "docker")
	if u.Path != "" && u.Path != "/" {
		if strings.ContainsAny(u.Path, " \t\n'\"\\$`;&|<>()*?[]{}~#") {
			return nil, fmt.Errorf("the path of the endpoint %q has characters that the far shell would read", clip(u.Redacted()))
		}
		args = append(args, "--host", "unix://"+u.Path)
	}
	args = append(args, "system", "dial-stdio")
	return func(ctx context.Context) (net.Conn, error) { return dialCommand(ctx, "ssh", args) }, nil
}

// maxComplaint bounds how much of what a command says on stderr is kept.
const maxComplaint = 4 << 10

// dialCommand starts a command and makes a connection of its input and output. Its life is not bound to ctx: a connection
// may be kept beyond the request that it was opened for.
func dialCommand(ctx context.Context, name string, args []string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("an ssh endpoint needs the program ssh: %w", err)
	}
	c := &commandConn{name: name, cmd: exec.Command(path, args...), done: make(chan struct{})}
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if c.out, err = c.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	c.cmd.Stderr = &c.complaint
	c.cmd.WaitDelay = time.Second
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	return c, nil
}

// commandConn is a command as a connection. Deadlines have no effect: whoever gives up closes it.
type commandConn struct {
	name      string
	cmd       *exec.Cmd
	in        io.WriteCloser
	out       io.ReadCloser
	complaint complaint
	once      sync.Once
	done      chan struct{}
}

// Read implements net.Conn.
func (c *commandConn) Read(p []byte) (int, error) {
	n, err := c.out.Read(p)
	if err == nil || n > 0 {
		return n, err
	}
	return n, c.over(err)
}

// Write implements net.Conn.
func (c *commandConn) Write(p []byte) (int, error) {
	n, err := c.in.Write(p)
	if err != nil {
		err = c.over(err)
	}
	return n, err
}

// over ends the command and says what it complained about, in the place of err, which only says that it has ended.
func (c *commandConn) over(err error) error {
	c.Close()
	<-c.done
	if text := c.complaint.text(); text != "" {
		return fmt.Errorf("%s: %s", c.name, text)
	}
	return err
}

// Close ends the command.
func (c *commandConn) Close() error {
	c.once.Do(func() {
		c.in.Close()
		// A command that hears its input end goes by itself; one that does not is ended.
		t := time.AfterFunc(time.Second, func() { _ = c.cmd.Process.Kill() })
		go func() {
			defer close(c.done)
			_ = c.cmd.Wait() // how it ended says nothing that reading has not said
			t.Stop()
		}()
	})
	return nil
}

func (c *commandConn) LocalAddr() net.Addr              { return commandAddr(c.name) }
func (c *commandConn) RemoteAddr() net.Addr             { return commandAddr(c.name) }
func (c *commandConn) SetDeadline(time.Time) error      { return nil }
func (c *commandConn) SetReadDeadline(time.Time) error  { return nil }
func (c *commandConn) SetWriteDeadline(time.Time) error { return nil }

// commandAddr is the address of a command.
type commandAddr string

func (a commandAddr) Network() string { return "command" }
func (a commandAddr) String() string  { return string(a) }

// complaint keeps the beginning of what is written to it.
type complaint struct {
	mu  sync.Mutex
	buf []byte
}

// Write implements io.Writer.
func (c *complaint) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buf = append(c.buf, p[:min(len(p), maxComplaint-len(c.buf))]...)
	return len(p), nil
}

func (c *complaint) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.TrimSpace(string(c.buf))
}
