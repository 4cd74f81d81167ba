package system

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
)

const sharing = quickRecovery + `policies: [{name: default, tiers: [{fiber: 3, lte: 1}], spread: flows}]
`

// shares reports whether both uplinks carry, in both families.
func shares(s *control.Status) bool {
	return lab.AllUp(s) && len(s.Policies[0].IPv4) == 2 && len(s.Policies[0].IPv6) == 2
}

// slowFile serves a file over HTTP, each connection at a pace, and counts the connections
// that asked for each part, by their source.
type slowFile struct {
	content []byte
	// pace is how much a connection has in a tenth of a second.
	pace int

	mu      sync.Mutex
	sources map[string][]netip.Addr // by the range that was asked for
}

func (s *slowFile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	from, _ := netip.ParseAddrPort(r.RemoteAddr)
	s.mu.Lock()
	s.sources[r.Header.Get("Range")] = append(s.sources[r.Header.Get("Range")], from.Addr())
	s.mu.Unlock()
	http.ServeContent(paced{w, s.pace}, r, "file", time.Time{}, bytes.NewReader(s.content))
}

// paced writes some bytes each tenth of a second.
type paced struct {
	http.ResponseWriter
	pace int
}

func (p paced) Write(b []byte) (n int, err error) {
	for len(b) > 0 && err == nil {
		part := min(p.pace, len(b))
		var wrote int
		wrote, err = p.ResponseWriter.Write(b[:part])
		n, b = n+wrote, b[part:]
		if f, ok := p.ResponseWriter.(http.Flusher); ok {
			f.Flush()
		}
		time.Sleep(100 * time.Millisecond)
	}
	return n, err
}

// A download with curl(1) in eight parts at a time, over a tier that both uplinks share
// three to one: each carries parts, and when the first one dies its parts are fetched
// again by the other, whose own go on without a break.
func TestDownloadOverASharedTier(t *testing.T) {
	scenario(t, func(t *trial) {
		g := newGateway(t, usual, sharing)
		g.Start()
		g.Await("both uplinks to carry", shares)
		for _, f := range failover.Families {
			g.download(f)
		}
	})
}

const parts, partSize = 8, 300_000

func (g *gateway) download(f failover.Family) {
	g.Helper()
	file := &slowFile{content: make([]byte, parts*partSize), pace: 6000, sources: map[string][]netip.Addr{}}
	for i := range file.content {
		file.content[i] = byte(i * 31 / 7)
	}
	port := 8080 + uint16(f)
	listener, err := g.Internet.Listen("tcp", netip.AddrPortFrom(lab.Servers[f], port).String())
	if err != nil {
		g.Fatal(err)
	}
	server := &http.Server{Handler: file}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	url := "http://" + net.JoinHostPort(lab.Servers[f].String(), fmt.Sprint(port)) + "/"
	folder, err := os.MkdirTemp("", "parts")
	if err != nil {
		g.Fatal(err)
	}
	defer os.RemoveAll(folder)
	var running sync.WaitGroup
	failed := make(chan string, parts)
	for i := range parts {
		// With fixed ports each run has the same flows on the same uplinks. A client that only
		// listens hears of its reset when it next sends a segment: keepalives are such.
		local := 21000 + 20*i
		cmd := g.Client.Command("curl", "-sS", "-g", "--http1.1", "--keepalive-time", "1", "--retry", "20", "--retry-all-errors", "--retry-delay", "1",
			"--local-port", fmt.Sprintf("%d-%d", local, local+19), "-r", rangeOf(i), "-o", filepath.Join(folder, fmt.Sprint(i)), url)
		var said bytes.Buffer
		cmd.Stderr = &said
		if err := g.Client.Start(cmd); err != nil {
			g.Fatal(err)
		}
		running.Go(func() {
			if err := cmd.Wait(); err != nil {
				failed <- fmt.Sprintf("part %d: %v: %s", i, err, said.String())
			}
		})
	}
	g.Until("all parts to have begun", func() bool {
		file.mu.Lock()
		defer file.mu.Unlock()
		return len(file.sources) == parts
	})
	first := [parts]netip.Addr{}
	file.mu.Lock()
	for i := range parts {
		first[i] = file.sources["bytes="+rangeOf(i)][0]
	}
	file.mu.Unlock()
	fault := g.Break(fiber, "black-hole")
	running.Wait()
	took := time.Since(fault.Onset)
	g.Logf("%v after the loss all parts are here", took.Round(time.Millisecond))
	close(failed)
	for problem := range failed {
		g.Error(problem)
	}
	g.checkParts(f, file, first, folder)
	g.Mend(fault)
	g.Await("both uplinks to carry again", shares)
	g.Logf("%v after it both carry again", time.Since(fault.Onset)-took)
}

func rangeOf(part int) string { return fmt.Sprintf("%d-%d", part*partSize, (part+1)*partSize-1) }

// checkParts checks that a download is whole, and how each part came. first is where each
// came from at first.
func (g *gateway) checkParts(f failover.Family, file *slowFile, first [parts]netip.Addr, folder string) {
	g.Helper()
	var whole []byte
	var by [2]int
	var all []string
	for i := range parts {
		b, err := os.ReadFile(filepath.Join(folder, fmt.Sprint(i)))
		if err != nil {
			g.Fatal(err)
		}
		whole = append(whole, b...)
		uplink := fiber
		if first[i] == g.addressOf(lte, f) {
			uplink = lte
		}
		by[uplink]++
		came := file.sources["bytes="+rangeOf(i)]
		if uplink == lte && len(came) != 1 {
			g.Errorf("part %d by lte was broken: it came from %v", i, came)
		}
		all = append(all, fmt.Sprintf("%s %d", uplinkNames[uplink], len(came)))
	}
	g.Logf("%s: by uplink %v; each part's first uplink and connections: %s", f, by, strings.Join(all, ", "))
	if by[fiber] == 0 || by[lte] == 0 {
		g.Errorf("%d parts went by fiber, %d by lte", by[fiber], by[lte])
	}
	if !bytes.Equal(whole, file.content) {
		g.Errorf("the file has %d bytes and is not what was served", len(whole))
	}
}
