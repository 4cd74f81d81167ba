package system

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
)

const sharing = quickRecovery + `policies: [{name: default, tiers: [{fiber: 3, lte: 1}], spread: flows}]
`

// shares reports whether both uplinks carry, in both families.
func shares(s *control.Status) bool {
	return lab.AllUp(s) && len(s.Policies[0].IPv4) == 2 && len(s.Policies[0].IPv6) == 2
}

// sharingLong is sharing with a patience so long that a silent member stays shunned.
const sharingLong = twoUplinks + `health: {window: 5s, patience: 1m, loss: {degraded: 10%, clear: 5%}, damping: {half_life: 2s, suppress: 12, reuse: 6}}
failback: {after: 2s, min_interval: 1s}
probe: {interval: 400ms}
policies: [{name: default, tiers: [{fiber: 3, lte: 1}], spread: flows}]
`

// crowd are clients and servers between which flows are opened.
type crowd struct {
	*gateway
	clients, servers []netip.Addr
}

// open opens flows, all of them new, and returns by which addresses the server saw them.
func (c crowd) open(flows int) (*traffic.Census, []netip.Addr) {
	c.Helper()
	census, err := traffic.OpenCensus(c.Client, c.Internet, c.clients, c.servers, flows)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(census.Close)
	return census, census.Ask()
}

// wantBy checks that new flows go by these uplinks, and by no other.
func (c crowd) wantBy(when string, uplinks ...int) {
	c.Helper()
	_, seen := c.open(60)
	by := map[netip.Addr]int{}
	for _, a := range seen {
		by[a]++
	}
	for uplink := range uplinkNames[:2] {
		if n := by[c.Uplinks[uplink].Public4]; n > 0 != slices.Contains(uplinks, uplink) {
			c.Errorf("%s: %d of %d new flows go by %s", when, n, len(seen), uplinkNames[uplink])
		}
	}
	if n := by[netip.Addr{}]; n > 0 {
		c.Errorf("%s: %d of %d new flows are not answered", when, n, len(seen))
	}
}

// A member of a shared tier that degrades or is shunned gets no new flows, and keeps its
// own; one that is lost moves its own alone, and one that is back takes new ones alone.
func TestMembersOfASharedTier(t *testing.T) {
	scenario(t, func(t *trial) {
		g := newGateway(t, usual, sharingLong)
		g.Start()
		g.Await("both uplinks to carry", shares)
		c := crowd{gateway: g}
		var errs [2]error
		c.clients, errs[0] = lab.MoreClients(g.Client, 20)
		c.servers, errs[1] = lab.MoreServers(g.Lab, 10)
		if err := errors.Join(errs[:]...); err != nil {
			t.Fatal(err)
		}
		old, before := c.open(200)
		c.wantBy("at first", fiber, lte)
		// unmoved checks that the old flows come as they did, as far as they are answered:
		// all but those by a member that is silent.
		unmoved := func(when string, silent ...netip.Addr) {
			for i, a := range old.Ask() {
				if a != before[i] && (a.IsValid() || !slices.Contains(silent, before[i])) {
					t.Errorf("%s: an old flow that came from %v comes from %v", when, before[i], a)
				}
			}
		}
		alone := func(state control.State) func(*control.Status) bool {
			return func(s *control.Status) bool {
				return s.Uplinks[lte].IPv4.State == state && lab.CarriesFamily(s, "fiber", failover.IPv4)
			}
		}
		for _, fault := range []struct {
			spec  string
			state control.State
		}{{"loss-out=30%", control.Degraded}, {"black-hole", control.Shunned}} {
			f := g.Break(lte, fault.spec)
			g.Await("lte to be "+string(fault.state)+" and fiber alone to carry", alone(fault.state))
			c.wantBy(string(fault.state), fiber)
			unmoved(string(fault.state), g.Uplinks[lte].Public4)
			g.Mend(f)
			g.Await("both uplinks to carry again", shares)
			unmoved("after it was " + string(fault.state))
			c.wantBy("after it was "+string(fault.state), fiber, lte)
		}
		f := g.Break(lte, "carrier")
		g.Await("lte to be down and fiber alone to carry", alone(control.Down))
		for i, a := range old.Ask() {
			if fibers := g.Uplinks[fiber].Public4; a != fibers {
				t.Errorf("lte is lost: a flow that came from %v comes from %v", before[i], a)
			}
			before[i] = a
		}
		g.Mend(f)
		g.Await("both uplinks to carry again", shares)
		unmoved("after it was lost")
		c.wantBy("after it was lost", fiber, lte)
	})
}

// Under `uplinks: auto` a default route over two interfaces becomes one tier with its
// weights: flows of before the start stay where they are, new ones are divided by weight,
// and there is nothing left to do. Its loss of one interface is a failover to the other.
func TestMultipathDefaultUnderAuto(t *testing.T) {
	scenario(t, func(t *trial) {
		g := newGateway(t, masqueraded, "uplinks: auto\n")
		for family, next := range map[string][2]netip.Addr{
			"-4": {g.Uplinks[fiber].Router4, g.Uplinks[lte].Router4}, "-6": {g.Uplinks[fiber].Router6, g.Uplinks[lte].Router6},
		} {
			g.shell(fmt.Sprintf("ip %[1]s route flush default; ip %[1]s route add default proto static metric 100 "+
				"nexthop via %[2]s dev wan0 weight 3 nexthop via %[3]s dev wan1 weight 1", family, next[0], next[1]))
		}
		c := crowd{gateway: g}
		var errs [2]error
		c.clients, errs[0] = lab.MoreClients(g.Client, 100)
		c.servers, errs[1] = lab.MoreServers(g.Lab, 20)
		if err := errors.Join(errs[:]...); err != nil {
			t.Fatal(err)
		}
		old, before := c.open(200)
		g.Start()
		g.Await("both uplinks to share the load", func(s *control.Status) bool {
			return s.Overall == control.OK && len(s.Policies) == 1 && weights(s.Policies[0].IPv4) == "wan0 3, wan1 1" && weights(s.Policies[0].IPv6) == "wan0 3, wan1 1"
		})
		if after := old.Ask(); !slices.Equal(after, before) {
			t.Errorf("flows moved at the start: before it they came from\n%v\nand come from\n%v", before, after)
		}
		_, seen := c.open(1000)
		byFiber := 0
		for _, a := range seen {
			if a == g.Uplinks[fiber].Public4 {
				byFiber++
			}
		}
		if share := float64(byFiber) / float64(len(seen)); share < 0.68 || share > 0.82 {
			t.Errorf("%.2f of new flows go by the uplink with three quarters of the weight", share)
		}
		if rest := g.plan(); rest != "" {
			t.Errorf("there is still to do:\n%s", rest)
		}
		g.Break(lte, "black-hole")
		g.Await("wan0 alone to carry", func(s *control.Status) bool {
			return weights(s.Policies[0].IPv4) == "wan0 3" && weights(s.Policies[0].IPv6) == "wan0 3"
		})
		c.wantBy("after a loss", fiber)
	})
}

// weights lists who carries, with their weights.
func weights(carries []control.Share) string {
	var list []string
	for _, s := range carries {
		list = append(list, fmt.Sprint(s.Uplink, " ", s.Weight))
	}
	return strings.Join(list, ", ")
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
		// With fixed ports each run has the same flows on the same uplinks.
		local := 21000 + 20*i
		cmd := g.Client.Command("curl", "-sS", "-g", "--http1.1", "--retry", "20", "--retry-all-errors", "--retry-delay", "1",
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
