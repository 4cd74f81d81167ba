package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"swerve/testenv/lab"
)

var httpProtocols = []protocol{
	{name: "HTTP/1.1 keep-alive", promise: reset, start: startKeepAlive},
	{name: "HTTP/2 download", promise: reset, start: startHTTP2},
	{name: "server-sent events", promise: reset, start: startEvents},
}

// requestInterval is the time between two requests of a client, and between two events
// that a server sends.
const requestInterval = 100 * time.Millisecond

// startKeepAlive has the client ask again and again by one connection.
func startKeepAlive(s *stage) error {
	if err := s.serveHTTP(nil, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here\n") }); err != nil {
		return err
	}
	client, t := s.httpClient(false), s.track(requestInterval)
	s.run(func() {
		s.each(requestInterval, func() bool {
			seq := t.sent()
			if s.get(client, "http", func(io.Reader) {}) == nil {
				t.arrived(seq)
			}
			return true
		})
	})
	return nil
}

// startHTTP2 has the client download without end, by HTTP/2 over TLS.
func startHTTP2(s *stage) error {
	chunk := make([]byte, chunkLen)
	err := s.serveHTTP(serverTLS("h2"), func(w http.ResponseWriter, r *http.Request) {
		s.respond(w, r, chunkInterval, func(int) string { return string(chunk) })
	})
	if err != nil {
		return err
	}
	client, t := s.httpClient(true), s.track(chunkInterval)
	s.download(client, "https", dialPause, func(body io.Reader) {
		buf := make([]byte, 64<<10)
		for err := error(nil); err == nil; t.heard() {
			if _, err = body.Read(buf); err != nil {
				return
			}
		}
	})
	return nil
}

// eventRetry is after how long a client of server-sent events asks again, as the server
// tells it; browsers' own time is three to five seconds.
const eventRetry = time.Second

// startEvents has the client listen to server-sent events.
func startEvents(s *stage) error {
	err := s.serveHTTP(nil, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		s.respond(w, r, requestInterval, func(n int) string { return fmt.Sprintf("retry: %d\ndata: %d\n\n", eventRetry.Milliseconds(), n) })
	})
	if err != nil {
		return err
	}
	client, t := s.httpClient(false), s.track(requestInterval)
	s.download(client, "http", eventRetry, func(body io.Reader) {
		for lines := bufio.NewScanner(body); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "data: ") {
				t.heard()
			}
		}
	})
	return nil
}

// serveHTTP serves requests at the server's address, until the session ends; with TLS
// unless config is nil.
func (s *stage) serveHTTP(config *tls.Config, handler http.HandlerFunc) error {
	l, err := s.listen()
	if err != nil {
		return err
	}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	server := &http.Server{Handler: handler}
	s.closeAtEnd(server)
	s.run(func() { _ = server.Serve(l) })
	return nil
}

// respond writes pieces of a response at an interval, until nobody takes them.
func (s *stage) respond(w http.ResponseWriter, r *http.Request, interval time.Duration, piece func(n int) string) {
	n, flush := 0, http.NewResponseController(w)
	s.each(interval, func() bool {
		n++
		_, err := io.WriteString(w, piece(n))
		return err == nil && flush.Flush() == nil && r.Context().Err() == nil
	})
}

// httpClient is a client whose connections are counted.
func (s *stage) httpClient(h2 bool) *http.Client {
	t := &http.Transport{
		ForceAttemptHTTP2: h2,
		TLSClientConfig:   clientTLS(),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := s.dial(ctx)
			if err != nil {
				return nil, err
			}
			s.connected()
			return &countedConn{Conn: c, s: s}, nil
		},
	}
	context.AfterFunc(s.ctx, t.CloseIdleConnections)
	return &http.Client{Transport: t}
}

// get asks the server, has use read the body to its end, and returns why that failed.
func (s *stage) get(client *http.Client, scheme string, use func(io.Reader)) error {
	request, err := http.NewRequestWithContext(s.ctx, http.MethodGet, scheme+"://"+s.at.String()+"/", nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	use(response.Body)
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// download gets what never ends, and again after a pause when it does.
func (s *stage) download(client *http.Client, scheme string, again time.Duration, use func(io.Reader)) {
	s.run(func() {
		for s.get(client, scheme, use); s.pause(again); s.get(client, scheme, use) {
		}
	})
}

// countedConn counts the end of a connection that the client has not closed itself. A
// client may hide it: net/http repeats a request on another connection.
type countedConn struct {
	net.Conn
	s    *stage
	once sync.Once
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.note(err)
	return n, err
}

func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.note(err)
	return n, err
}

func (c *countedConn) note(err error) {
	if err == nil || errors.Is(err, net.ErrClosed) || c.s.over() {
		return
	}
	c.once.Do(func() { c.s.broke(err) })
}

// serverTLS has a certificate that nobody vouches for, for protocols of ALPN.
func serverTLS(protocols ...string) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{certificate()}, NextProtos: protocols}
}

func clientTLS(protocols ...string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, NextProtos: protocols}
}

// certificate is made once.
var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(fmt.Sprintf("protocols: make a key: %v", err))
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	for _, server := range lab.Servers {
		template.IPAddresses = append(template.IPAddresses, server.AsSlice())
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(fmt.Sprintf("protocols: make a certificate: %v", err))
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})
