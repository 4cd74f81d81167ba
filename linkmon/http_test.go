package linkmon

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"swerve/target"
)

func localWeb() web { return web{opener: localOpener()} }

// says is a server that reads a request and sends a text.
func says(text string) func(net.Conn) {
	return func(c net.Conn) {
		readRequest(c)
		io.WriteString(c, text)
		c.Read(make([]byte, 1)) // until it is reset
	}
}

func readRequest(c net.Conn) string {
	var all []byte
	for b := make([]byte, 512); !bytes.HasSuffix(all, []byte("\r\n\r\n")); {
		n, err := c.Read(b)
		if all = append(all, b[:n]...); err != nil {
			break
		}
	}
	return string(all)
}

func TestHTTPProbe(t *testing.T) {
	for _, c := range []struct{ path, response, want string }{
		{"/", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "answered"},
		{"/", "HTTP/1.0 204 No Content\r\n\r\n", "answered"},
		{"/", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "answered"},
		{"/", "HTTP/1.1 304 Not Modified\r\n\r\n", "answered"},
		{"/", "HTTP/1.1 301 Moved\r\nLocation: /elsewhere\r\n\r\n", "answered"},
		{"/", "HTTP/1.1 301 Moved\r\nLocation: https://127.0.0.1/\r\n\r\n", "answered"},
		{"/", "HTTP/1.1 301 Moved\r\nLocation: https://[::ffff:127.0.0.1]:7/\r\n\r\n", "answered"},
		{"/", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "answered"},
		{"/generate_204?x", "HTTP/1.1 204 No Content\r\n\r\n", "answered"},

		{"/", "HTTP/1.1 302 Found\r\nLocation: http://login.hotel.example/?u=x\r\n\r\n", "portal: captive portal at login.hotel.example"},
		{"/", "HTTP/1.1 307 Found\r\nLocation: //10.0.0.1:8080/\r\n\r\n", "portal: captive portal at 10.0.0.1"},
		{"/", "HTTP/1.1 302 Found\r\nLocation: http://a b/\r\n\r\n", "portal: captive portal at an address that cannot be read"},
		{"/", "HTTP/1.1 302 Found\r\nLocation: \x1b[31m/\r\n\r\n", "failed: malformed MIME header line: \"Location: \\x1b[31m/\""},
		{"/", "HTTP/1.1 302 Found\r\nLocation: http://" + strings.Repeat("a", 8000) + "/\r\n\r\n", "portal: captive portal at an address that cannot be read"},
		{"/", "HTTP/1.1 302 Found\r\nLocation: app:///x\r\n\r\n", "portal: captive portal at an address that cannot be read"},
		{"/generate_204", "HTTP/1.1 302 Found\r\nLocation: http://login.hotel.example/\r\n\r\n", "portal: captive portal at login.hotel.example"},
		{"/x/gen_204", "HTTP/1.1 200 OK\r\n\r\n<html>log in", "portal: captive portal: status 200 in place of 204"},
		{"/generate_204", "HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n", "portal: captive portal: status 302 in place of 204"},
		{"/", "HTTP/1.1 511 Network Authentication Required\r\n\r\n", "portal: captive portal: status 511"},

		{"/", "HTTP/1.1 404 Not Found\r\n\r\n", "failed: status 404"},
		{"/", "HTTP/1.1 502 Bad Gateway\r\n\r\n", "failed: status 502"},
		{"/generate_204", "HTTP/1.1 404 Not Found\r\n\r\n", "failed: status 404 in place of 204"},
		{"/", "HTTP/1.1 101 Switching Protocols\r\n\r\n" + strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 9), "failed: informational responses without end"},
		{"/", "SSH-2.0-OpenSSH_9.9\r\n", "failed: malformed HTTP"},
		{"/", "", "failed: the connection was closed before a response"},
		{"/", "HTTP/1.1 200 OK\r\nA: b\r\n", "failed: the connection was closed before a response"},
		{"/", "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("b", maxHeader), "failed: the end of a response is beyond"},
		{"/", "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", maxHeader), "failed: the end of a response is beyond"},
	} {
		request := make(chan string, 1)
		at := listener(t, "127.0.0.1:0", func(conn net.Conn) {
			request <- readRequest(conn)
			io.WriteString(conn, c.response)
			if strings.Contains(c.want, "closed") {
				return
			}
			conn.Read(make([]byte, 1))
		})
		before := openFiles(t)
		got := outcomesOf(t, localWeb().probe, localRequest(target.HTTP, at, c.path))
		if !strings.HasPrefix(got, "sent, "+c.want) {
			t.Errorf("%.80q: %s, want sent, %s", c.response, got, c.want)
		}
		want := "GET " + c.path + " HTTP/1.1\r\nHost: " + at.String() + "\r\nUser-Agent: swerve\r\nAccept: */*\r\nConnection: close\r\n\r\n"
		if r := <-request; r != want {
			t.Errorf("request %q, want %q", r, want)
		}
		if len(before) == 0 {
			t.Error("not even the listener's socket is seen")
		}
		leaksNothing(t, before)
	}
}

// A server that holds back its answer, or drips it, costs no more than the time to wait.
func TestSlowServers(t *testing.T) {
	serves := map[string]func(net.Conn){
		"silent": func(c net.Conn) { c.Read(make([]byte, 1<<16)); c.Read(make([]byte, 1)) },
		"drip": func(c net.Conn) {
			readRequest(c)
			for {
				if _, err := io.WriteString(c, "H"); err != nil {
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		},
	}
	for name, serve := range serves {
		for _, m := range []target.Method{target.HTTP, target.HTTPS} {
			if name == "drip" && m == target.HTTPS {
				continue // the first byte is no TLS
			}
			r := localRequest(m, listener(t, "127.0.0.1:0", serve), "/")
			r.wait = 150 * time.Millisecond
			before, began := openFiles(t), time.Now()
			got := outcomesOf(t, localWeb().probe, r)
			if !strings.HasPrefix(got, "sent, failed: connected, but without a") || time.Since(began) > 8*time.Second {
				t.Errorf("%s by %s: %s after %v", name, m, got, time.Since(began))
			}
			leaksNothing(t, before)
		}
	}
}

// Servers that send without end cost bounded memory: in bodies, headers and TLS.
func TestEndlessServers(t *testing.T) {
	endless := func(prefix, unit string) func(net.Conn) {
		more := bytes.Repeat([]byte(unit), 1+(64<<10)/len(unit))
		return func(c net.Conn) {
			c.Read(make([]byte, 4096))
			io.WriteString(c, prefix)
			for {
				if _, err := c.Write(more); err != nil {
					return
				}
			}
		}
	}
	for _, c := range []struct {
		m            target.Method
		prefix, unit string
		want         string
	}{
		{target.HTTP, "HTTP/1.1 200 OK\r\n\r\n", "body", "answered"},
		{target.HTTP, "HTTP/1.1 200 OK\r\n", "A: b\r\n", "failed: the end of a response is beyond"},
		{target.HTTP, "HTTP/1.1 200 ", "a", "failed: the end of a response is beyond"},
		{target.HTTPS, "", "\x16\x03\x03\x40\x00", "failed: "},
		{target.HTTPS, "\x16\x03\x03\x40\x00\x0b\x03\xff\xff", "\x00", "failed: "},
	} {
		at := listener(t, "127.0.0.1:0", endless(c.prefix, c.unit))
		var before, after runtime.MemStats
		files := openFiles(t)
		runtime.ReadMemStats(&before)
		for range 20 {
			if got := outcomesOf(t, localWeb().probe, localRequest(c.m, at, "/")); !strings.HasPrefix(got, "sent, "+c.want) {
				t.Errorf("%s, %q: %s", c.m, c.prefix, got)
				break
			}
		}
		runtime.ReadMemStats(&after)
		t.Logf("%s, %q: %d bytes a probe, with the server's", c.m, c.prefix, (after.TotalAlloc-before.TotalAlloc)/20)
		if grown := (after.TotalAlloc - before.TotalAlloc) / 20; grown > 1<<20 {
			t.Errorf("%s, %q: a probe allocates %d bytes", c.m, c.prefix, grown)
		}
		leaksNothing(t, files)
	}
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, from, until time.Time) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: from, NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert, key}
}

func (a authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// issue returns a server's certificate for an address.
func (a authority) issue(t *testing.T, server string, from, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: from, NotAfter: until, IPAddresses: []net.IP{net.ParseIP(server)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A certificate has to be the server's and of an authority that is trusted; whether the
// clock of this machine is right is no matter.
func TestHTTPSProbe(t *testing.T) {
	day := 24 * time.Hour
	now := time.Now()
	valid := newAuthority(t, now.Add(-10*day), now.Add(10*day))
	old := newAuthority(t, now.Add(-900*day), now.Add(-100*day))
	future := newAuthority(t, now.Add(800*day), now.Add(900*day))
	for _, c := range []struct {
		name     string
		cert     tls.Certificate
		trusted  *x509.CertPool
		response string
		want     string
	}{
		{"valid", valid.issue(t, "127.0.0.1", now.Add(-day), now.Add(day)), valid.pool(), "HTTP/1.1 200 OK\r\n\r\n", "answered"},
		{"its authority and itself have expired", old.issue(t, "127.0.0.1", now.Add(-300*day), now.Add(-200*day)), old.pool(), "HTTP/1.1 200 OK\r\n\r\n", "answered"},
		{"this machine's clock is years behind", future.issue(t, "127.0.0.1", now.Add(801*day), now.Add(802*day)), future.pool(), "HTTP/1.1 200 OK\r\n\r\n", "answered"},
		{"a redirect elsewhere is its own", valid.issue(t, "127.0.0.1", now, now.Add(day)), valid.pool(), "HTTP/1.1 302 Found\r\nLocation: https://dns.example/\r\n\r\n", "answered"},
		{"an error of its own", valid.issue(t, "127.0.0.1", now, now.Add(day)), valid.pool(), "HTTP/1.1 503 Busy\r\n\r\n", "failed: status 503"},
		{"another server's", valid.issue(t, "192.0.2.1", now, now.Add(day)), valid.pool(), "", "failed: another server answers: its certificate is not for 127.0.0.1"},
		{"another authority's", old.issue(t, "127.0.0.1", now, now.Add(day)), valid.pool(), "", "failed: the certificate that answers for 127.0.0.1 is of an unknown authority"},
		{"of nobody this machine trusts", valid.issue(t, "127.0.0.1", now, now.Add(day)), nil, "", "failed: "},
	} {
		at := listener(t, "127.0.0.1:0", func(conn net.Conn) {
			secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{c.cert}})
			if secure.Handshake() == nil {
				says(c.response)(secure)
			}
		})
		m := localWeb()
		m.roots = c.trusted
		before := openFiles(t)
		if got := outcomesOf(t, m.probe, localRequest(target.HTTPS, at, "/")); !strings.HasPrefix(got, "sent, "+c.want) {
			t.Errorf("%s: %s, want sent, %s", c.name, got, c.want)
		}
		leaksNothing(t, before)
	}
	if got := outcomesOf(t, localWeb().probe, localRequest(target.HTTPS, listener(t, "127.0.0.1:0", says("HTTP/1.1 400 Bad Request\r\n\r\n")), "/")); !strings.HasPrefix(got, "sent, failed: ") {
		t.Errorf("no TLS at all: %s", got)
	}
}

func TestHostHeader(t *testing.T) {
	for text, want := range map[string]string{
		"http://192.0.2.1": "192.0.2.1", "http://192.0.2.1:443/x": "192.0.2.1:443", "https://192.0.2.1:443": "192.0.2.1", "https://192.0.2.1:80": "192.0.2.1:80",
		"http://[2001:db8::1]/": "[2001:db8::1]", "http://[2001:db8::1]:8080/": "[2001:db8::1]:8080",
	} {
		if got := hostOf(parsed(text)); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// FuzzResponse reads what a server may send as the head of a response, and judges it.
func FuzzResponse(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 302 Found\r\nLocation: http://a/\r\n\r\n", "HTTP/1.1 100 C\r\n\r\nHTTP/1.0 511 x\r\n\r\n",
		"HTTP/1.1 301 M\r\nLocation: //[::1%25a]:x/\r\n\r\n", "HTTP/9.9 -1 \r\n\r\n", "HTTP/1.1 200 OK\r\n: \r\n\r\n",
	} {
		f.Add([]byte(s), true)
	}
	t204 := target.Target{Method: target.HTTP, Addr: netip.MustParseAddr("192.0.2.1"), Port: 80, Path: "/generate_204"}
	f.Fuzz(func(t *testing.T, data []byte, wants204 bool) {
		asked := t204
		if !wants204 {
			asked.Path = "/"
		}
		read := &counted{r: bytes.NewReader(data)}
		response, err := readHeader(read)
		if read.n > maxHeader {
			t.Fatalf("%d bytes are read", read.n)
		}
		if err != nil {
			return
		}
		err = judgeResponse(asked, response.StatusCode, response.Header.Get("Location"))
		if err == nil && (response.StatusCode < 200 || response.StatusCode > 399 || wants204 && response.StatusCode != 204) {
			t.Errorf("%q counts as an answer", data)
		}
		if err != nil && len(fmt.Sprint(faultOf(err).Cause)) > maxCause+3 {
			t.Errorf("%q: %v", data, err)
		}
	})
}

type counted struct {
	r io.Reader
	n int
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += n
	return n, err
}
