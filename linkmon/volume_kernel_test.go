package linkmon

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"swerve/failover"
	"swerve/target"
	"swerve/testenv/netns"
)

// usualServers has a provider's targets answer as servers of the internet do: with a page
// of two kilobytes, of a megabyte at /long, by http and by https with a chain of four
// certificates, and with one address.
func usualServers(t *testing.T, isp *netns.NS, signer authority) {
	t.Helper()
	page := "HTTP/1.1 200 OK\r\nServer: test\r\nContent-Type: text/html\r\n\r\n" + strings.Repeat("x", 1900)
	answer := func(conn net.Conn) {
		defer conn.Close()
		request := readRequest(conn)
		io.WriteString(conn, page)
		if strings.Contains(request, "/long") {
			conn.Write(make([]byte, 1<<20))
		}
		conn.Read(make([]byte, 1))
	}
	listen := func(at string, serve func(net.Conn)) {
		l, err := isp.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go serve(conn)
			}
		}()
	}
	now := time.Now()
	for _, host := range []string{target4, target6} {
		cert := signer.issue(t, host, now.Add(-time.Hour), now.Add(time.Hour))
		cert.Certificate = append(cert.Certificate, signer.cert.Raw, signer.cert.Raw, signer.cert.Raw)
		config := &tls.Config{Certificates: []tls.Certificate{cert}}
		listen(net.JoinHostPort(host, "80"), answer)
		listen(net.JoinHostPort(host, "443"), func(conn net.Conn) { answer(tls.Server(conn, config)) })
		names, err := isp.ListenPacket("udp", net.JoinHostPort(host, "53"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { names.Close() })
		go func() {
			for buf := make([]byte, 512); ; {
				n, from, err := names.ReadFrom(buf)
				if err != nil {
					return
				}
				buf[2] |= 0x80 // an answer
				buf[7] = 1     // with one record
				names.WriteTo(append(buf[:n:n], 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1), from)
			}
		}()
	}
}

// trusted has the children of this test trust an authority.
func trusted(t *testing.T, signer authority) {
	t.Helper()
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signer.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", roots)
}

// What a probe takes on the wire is what the estimates of package target say: of a
// handshake and a query exactly, of a page of usual size nearly. One without end is cut.
func TestVolumeOnTheWire(t *testing.T) {
	ns, isps := multihomed(t)
	signer := newAuthority(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	trusted(t, signer)
	usualServers(t, isps[1], signer)
	nft(t, isps[1], `table inet volume {
		counter seen { }
		chain come { type filter hook prerouting priority -300; meta l4proto { tcp, udp } counter name seen; }
		chain go { type filter hook output priority -300; meta l4proto { tcp, udp } counter name seen; }
	}`)
	read := func() (packets, bytes int) {
		out, err := isps[1].Run("nft", "list", "counter", "inet", "volume", "seen")
		if err == nil {
			_, err = fmt.Sscanf(out[strings.Index(out, "packets"):], "packets %d bytes %d", &packets, &bytes)
		}
		if err != nil {
			t.Fatal(err, out)
		}
		return packets, bytes
	}
	path := indexed(t, ns, 1)
	c := startChild(t, ns)
	for _, f := range failover.Families {
		host := [2]string{target4, "[" + target6 + "]"}[f]
		for _, m := range []struct {
			text        string
			least, most float64 // of the estimate
		}{
			{"tcp://" + host + ":80", 1, 1},
			{"dns://" + host + "/example.com", 1, 1},
			{"http://" + host + "/", 0.75, 1.25},
			{"https://" + host + "/", 0.75, 1.25},
			{"http://" + host + "/long", 0, 9},
			{"https://" + host + "/long", 0, 3},
		} {
			const each = 20
			packets, before := read()
			for range each {
				c.answered(f, m.text, path)
			}
			time.Sleep(100 * time.Millisecond) // for the resets
			packetsNow, now := read()
			got, want := float64(now-before)/each, float64(target.WireBytes(parsed(m.text), f))
			t.Logf("%s: %.0f bytes in %.1f packets a probe, %.0f estimated", m.text, got, float64(packetsNow-packets)/each, want)
			if got < m.least*want || got > m.most*want {
				t.Errorf("%s: %.0f bytes, estimated are %.0f", m.text, got, want)
			}
		}
	}
	c.end()
}
