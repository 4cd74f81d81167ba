package linkmon

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"swerve/target"
)

// web probes by a request to a web server, http or https (RFC 9110). The answer is a
// complete header with a status of 2xx or 3xx; the body is not read, and a redirect is not
// followed. Other statuses are no answer: proxies and portals on the way use them to say
// that they do not pass a request on. Nor is what a captive portal says, see judgeResponse.
type web struct {
	opener
	// roots are the certificates that are trusted; nil for the machine's.
	roots *x509.CertPool
}

const (
	// maxHeader bounds the header, maxTLS what is read for it and a handshake of TLS.
	maxHeader = 16 << 10
	maxTLS    = 64 << 10
	// maxInformational is how many responses 1xx may precede the final one.
	maxInformational = 4
)

// probe is a [method].
func (m web) probe(ctx context.Context, r request, report func(outcome)) {
	room := maxHeader
	if r.target.Method == target.HTTPS {
		room = maxTLS
	}
	s, ok := m.connect(ctx, r, report, room)
	if !ok {
		return
	}
	defer s.Close()
	err := s.handshake()
	if timedOut(err) || err == errAnew {
		return
	}
	if err == nil {
		err = m.ask(s, r.target)
	}
	switch {
	case err == nil:
		report(outcome{kind: probeAnswered, at: m.clock(), by: r.to})
		m.tracking.learn(s.fd, r)
	case ctx.Err() == nil:
		report(outcome{kind: probeFailed, at: m.clock(), fault: faultOf(err)})
	}
}

// ask sends the request on a connection and judges the response.
func (m web) ask(s *socket, t target.Target) error {
	var conn net.Conn = s
	if t.Method == target.HTTPS {
		secure := tls.Client(s, m.tlsConfig(t.Addr))
		if err := secure.Handshake(); err != nil {
			return inPhase(err, "a TLS handshake")
		}
		conn = secure
	}
	if _, err := io.WriteString(conn, requestText(t)); err != nil {
		return inPhase(err, "a response")
	}
	response, err := readHeader(conn)
	if err != nil {
		return inPhase(err, "a response")
	}
	return judgeResponse(t, response.StatusCode, response.Header.Get("Location"))
}

// inPhase words errors of a connection that ended, or whose time was over.
func inPhase(err error, before string) error {
	switch {
	case timedOut(err):
		return fmt.Errorf("connected, but without %s in time", before)
	case errors.Is(err, errTooMuch):
		return fmt.Errorf("the end of %s is beyond what a probe reads", before)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the connection was closed before %s", before)
	}
	return err
}

// requestText is a request for the target's path.
func requestText(t target.Target) string {
	return "GET " + t.Path + " HTTP/1.1\r\nHost: " + hostOf(t) +
		"\r\nUser-Agent: swerve\r\nAccept: */*\r\nConnection: close\r\n\r\n"
}

// hostOf is the target's host and port as the header Host has them.
func hostOf(t target.Target) string {
	host := t.Addr.String()
	if t.Addr.Is6() {
		host = "[" + host + "]"
	}
	if t.Method == target.HTTP && t.Port == 80 || t.Method == target.HTTPS && t.Port == 443 {
		return host
	}
	return host + ":" + strconv.Itoa(int(t.Port))
}

// readHeader reads the header of the final response.
func readHeader(conn io.Reader) (*http.Response, error) {
	source := &bounded{r: conn, left: maxHeader}
	reader := bufio.NewReader(source)
	for range 1 + maxInformational {
		response, err := http.ReadResponse(reader, nil)
		switch {
		case err != nil && source.err != nil:
			return nil, source.err // whatever was made of what came before
		case err != nil:
			return nil, err
		}
		if response.StatusCode < 100 || response.StatusCode >= 200 {
			return response, nil
		}
	}
	return nil, errors.New("informational responses without end")
}

// portalError says that a captive portal has answered in the target's place.
type portalError struct{ what string }

func (e *portalError) Error() string { return "captive portal" + e.what }

// judgeResponse returns nil if a response proves that the target answered.
//
// By http anybody on the way can answer in a server's place, and a captive portal does:
// with its own page, or with a redirect to it. So a redirect to another host is a
// portal's, as is any response but 204 for a path that promises 204, and status 511 (RFC
// 6585, 6). By https the certificate has shown who answers.
func judgeResponse(t target.Target, status int, location string) error {
	to, elsewhere := leadsAway(t.Addr, location)
	isRedirect := status >= 300 && status < 400 && location != ""
	wants204 := promises204(t.Path) && status != http.StatusNoContent
	plain := t.Method == target.HTTP
	switch {
	case status == http.StatusNetworkAuthenticationRequired:
		return &portalError{": status 511"}
	case plain && isRedirect && elsewhere:
		return &portalError{" at " + to}
	case plain && wants204 && status < 400:
		return &portalError{": status " + strconv.Itoa(status) + " in place of 204"}
	case wants204:
		return fmt.Errorf("status %d in place of 204", status)
	case status < 200 || status >= 400:
		return fmt.Errorf("status %d", status)
	}
	return nil
}

// promises204 reports whether a path is of the kind that is answered with status 204 and
// nothing else, for the very purpose of finding portals.
func promises204(path string) bool {
	path, _, _ = strings.Cut(path, "?")
	return strings.HasSuffix(path, "/generate_204") || strings.HasSuffix(path, "/gen_204")
}

// leadsAway reports whether a redirect leads to another host, and to which.
func leadsAway(from netip.Addr, location string) (host string, away bool) {
	u, err := url.Parse(location)
	if err != nil {
		return "an address that cannot be read", true
	}
	host = u.Hostname()
	if to, err := netip.ParseAddr(host); host == "" && u.Scheme == "" || err == nil && to.Unmap() == from {
		return host, false
	}
	if !target.IsHost(host) {
		return "an address that cannot be read", true
	}
	return host, true
}
