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
)

// What a probe takes on the wire is what the estimates of package target say: of a
// handshake exactly, of the others with a page or an answer of usual size nearly.
func TestVolumeOnTheWire(t *testing.T) {
	ns, isps := multihomed(t)
	now := time.Now()
	authority := newAuthority(t, now.Add(-time.Hour), now.Add(time.Hour))
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", roots) // the child's
	page := "HTTP/1.1 200 OK\r\nServer: test\r\nContent-Type: text/html\r\n\r\n" + strings.Repeat("x", 1900)
	for _, host := range []string{target4, target6} {
		for port, secure := range map[string]bool{"80": false, "443": true} {
			l, err := isps[1].Listen("tcp", net.JoinHostPort(host, port))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			// A leaf and two more certificates of the same size, as servers send them.
			cert := authority.issue(t, host, now.Add(-time.Hour), now.Add(time.Hour))
			cert.Certificate = append(cert.Certificate, authority.cert.Raw, authority.cert.Raw, authority.cert.Raw)
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					if secure {
						conn = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}})
					}
					go func() {
						defer conn.Close()
						request := readRequest(conn)
						io.WriteString(conn, page)
						if strings.Contains(request, "/long") {
							conn.Write(make([]byte, 1<<20))
						}
						conn.Read(make([]byte, 1))
					}()
				}
			}()
		}
		names, err := isps[1].ListenPacket("udp", net.JoinHostPort(host, "53"))
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
				buf[2] |= 0x80
				buf[7] = 1
				answer := append(buf[:n:n], 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1)
				names.WriteTo(answer, from)
			}
		}()
	}
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
		measure := func(text string) (bytes float64) {
			const each = 20
			packets, before := read()
			for range each {
				c.answered(f, text, path)
			}
			time.Sleep(100 * time.Millisecond) // for the resets
			packetsNow, now := read()
			bytes = float64(now-before) / each
			t.Logf("%s: %.0f bytes in %.1f packets a probe, %d estimated", text, bytes, float64(packetsNow-packets)/each, target.WireBytes(parsed(text), f))
			return bytes
		}
		for text, off := range map[string]float64{"tcp://" + host + ":80": 0, "dns://" + host + "/example.com": 0, "http://" + host + "/": 0.25, "https://" + host + "/": 0.25} {
			want := float64(target.WireBytes(parsed(text), f))
			if got := measure(text); got < want*(1-off) || got > want*(1+off) {
				t.Errorf("%s: %.0f bytes, not within %.0f %% of %.0f", text, got, 100*off, want)
			}
		}
		for _, text := range []string{"http://" + host + "/long", "https://" + host + "/long"} {
			if got := measure(text); got > 24_000 {
				t.Errorf("%s: %.0f bytes of a page without end", text, got)
			}
		}
	}
	c.end()
}
