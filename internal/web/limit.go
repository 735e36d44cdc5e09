package web

import (
	"net"
	"sync"
)

// limit bounds the connections of a listener. One too many is closed at once:
// descriptors are for the runs.
func limit(l net.Listener, n int) net.Listener {
	return &limited{Listener: l, free: make(chan struct{}, n)}
}

type limited struct {
	net.Listener
	free chan struct{}
}

// Accept waits for a connection that there is room for.
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.free <- struct{}{}:
			return &conn{Conn: c, release: sync.OnceFunc(func() { <-l.free })}, nil
		default:
			_ = c.Close()
		}
	}
}

type conn struct {
	net.Conn
	release func()
}

// Close makes room for another connection.
func (c *conn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
