package netns_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"swerve/testenv/netns"
	"swerve/testenv/wait"
)

func TestNamespacesAreApart(t *testing.T) {
	a, b := netns.New(t), netns.New(t)
	if a.Inode() == b.Inode() {
		t.Fatalf("two namespaces share inode %d", a.Inode())
	}
	if err := netns.Veth(a, "only-a", a, "peer-a"); err != nil {
		t.Fatal(err)
	}
	if out := run(t, a, "ip", "link"); !strings.Contains(out, "only-a@peer-a") {
		t.Errorf("the link is missing where it was made:\n%s", out)
	}
	if out := run(t, b, "ip", "link"); strings.Contains(out, "only-a") {
		t.Errorf("the link shows in the other namespace:\n%s", out)
	}
	if links, err := b.Netlink().LinkList(); err != nil || len(links) != 1 {
		t.Errorf("links of an empty namespace: %v, %v; want lo alone", links, err)
	}
	if _, err := netlink.LinkByName("only-a"); err == nil {
		t.Error("the link shows on the machine itself")
	}
}

func TestStartsTheSameEverywhere(t *testing.T) {
	ns := netns.New(t)
	for key, want := range map[string]string{
		"net/ipv4/ip_forward":                  "0",
		"net/ipv4/conf/default/rp_filter":      "0",
		"net/ipv6/conf/default/accept_dad":     "0",
		"net/ipv6/conf/all/forwarding":         "0",
		"net/netfilter/nf_conntrack_tcp_loose": "1",
	} {
		if got, err := ns.Sysctl(key); err != nil || got != want {
			t.Errorf("%s = %q, %v; want %q", key, got, err, want)
		}
	}
	if out := run(t, ns, "ip", "-br", "link", "show", "lo"); !strings.Contains(out, ",UP,") {
		t.Errorf("lo is not up: %s", out)
	}
}

func TestSysctlStaysInside(t *testing.T) {
	a, b := netns.New(t), netns.New(t)
	const key = "net/ipv4/conf/lo/rp_filter"
	if err := a.SetSysctl(key, "2"); err != nil {
		t.Fatal(err)
	}
	got, _ := a.Sysctl(key)
	other, _ := b.Sysctl(key)
	if got != "2" || other == "2" {
		t.Errorf("after writing 2 in one namespace: %q there, %q in the other", got, other)
	}
	if out := run(t, a, "cat", "/proc/sys/"+key); strings.TrimSpace(out) != "2" {
		t.Errorf("a child process reads %q, want 2", out)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	before := openFiles(t)
	ns, err := netns.Open()
	if err != nil {
		t.Fatal(err)
	}
	inode := ns.String()
	cmd := ns.Command("sleep", "1000")
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if n := holders(t, inode); n != 2 {
		t.Errorf("%d processes or threads are in the namespace, want the worker and its child", n)
	}
	ns.Close()
	ns.Close() // harmless
	if err := cmd.Wait(); err == nil {
		t.Error("the child outlived its namespace")
	}
	wait.For(t, "the namespace to go", func() bool { return holders(t, inode) == 0 })
	if after := openFiles(t); after > before {
		t.Errorf("%d files are open, %d were before", after, before)
	}
	if err := ns.Do(func() error { return nil }); !errors.Is(err, netns.ErrClosed) {
		t.Errorf("Do after Close: %v, want ErrClosed", err)
	}
	if _, err := ns.Run("true"); !errors.Is(err, netns.ErrClosed) {
		t.Errorf("Run after Close: %v, want ErrClosed", err)
	}
}

func TestDo(t *testing.T) {
	ns := netns.New(t)
	want := errors.New("inside")
	if err := ns.Do(func() error { return want }); err != want {
		t.Errorf("error of the function: %v, want %v", err, want)
	}
	nested := ns.Do(func() error { return ns.Do(func() error { return want }) })
	if nested != want {
		t.Errorf("a Do within Do: %v, want %v", nested, want)
	}
	func() {
		defer func() {
			if v := fmt.Sprint(recover()); !strings.HasPrefix(v, "boom") || !strings.Contains(v, "TestDo") {
				t.Errorf("a panic inside reached the caller as %q, want it with the stack", v)
			}
		}()
		_ = ns.Do(func() error { panic("boom") })
	}()
	if err := ns.Do(func() error { return nil }); err != nil {
		t.Errorf("after a panic the namespace does not work: %v", err)
	}
}

func TestInsideNeedsNoWorker(t *testing.T) {
	ns := netns.New(t)
	began, finish := make(chan struct{}), make(chan struct{})
	busy := make(chan error)
	go func() { busy <- ns.Do(func() error { close(began); <-finish; return nil }) }()
	<-began // from here on the worker is blocked
	var view string
	err := ns.Inside(func() {
		_ = ns.Do(func() (err error) {
			view, err = os.Readlink("/proc/thread-self/ns/net")
			return err
		})
	})
	close(finish)
	if err := <-busy; err != nil {
		t.Error(err)
	}
	if err != nil || view != ns.String() {
		t.Errorf("inside it is %s, %v; want %s", view, err, ns)
	}
	ns.Close()
	if err := ns.Inside(func() { t.Error("a closed namespace was entered") }); err == nil {
		t.Error("no error for a closed namespace")
	}
}

// t.FailNow inside Do ends the test that called it, not the whole run.
func TestGoexitReachesTheCaller(t *testing.T) {
	ns := netns.New(t)
	passed := false
	var caller sync.WaitGroup
	caller.Go(func() {
		_ = ns.Do(func() error { runtime.Goexit(); return nil })
		passed = true
	})
	caller.Wait()
	if passed {
		t.Error("the caller continued after a Goexit inside Do")
	}
	if err := ns.Do(func() error { return nil }); !errors.Is(err, netns.ErrClosed) {
		t.Errorf("Do afterwards: %v, want ErrClosed", err)
	}
}

func TestRunTellsWhatWentWrong(t *testing.T) {
	_, err := netns.New(t).Run("sh", "-c", "echo why >&2; exit 3")
	if err == nil || !strings.Contains(err.Error(), "sh -c") || !strings.Contains(err.Error(), "why") {
		t.Errorf("error %v; want the command and its standard error", err)
	}
}

func TestSocketsAcrossAVeth(t *testing.T) {
	for _, tc := range []struct{ family, a, b string }{
		{"ipv4", "10.0.0.1/24", "10.0.0.2/24"},
		{"ipv6", "fd00::1/64", "fd00::2/64"},
	} {
		t.Run(tc.family, func(t *testing.T) {
			a, b := netns.New(t), netns.New(t)
			connectPair(t, a, tc.a, b, tc.b)
			to := netip.AddrPortFrom(netip.MustParsePrefix(tc.b).Addr(), 7)
			checkUDP(t, a, b, to)
			checkTCP(t, a, b, to)
		})
	}
}

func checkUDP(t *testing.T, client, server *netns.NS, to netip.AddrPort) {
	t.Helper()
	pc, err := server.ListenPacket("udp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	c, err := client.DialUDP(to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	pc.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, from, err := pc.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "hello" || from.String() != c.LocalAddr().String() {
		t.Errorf("the server read %q from %v, %v; want hello from %v", buf[:n], from, err, c.LocalAddr())
	}
}

func checkTCP(t *testing.T, client, server *netns.NS, to netip.AddrPort) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := client.DialTCP(ctx, to); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("dial where nobody listens: %v, want it refused", err)
	}
	l, err := server.Listen("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := client.DialTCP(ctx, to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if c.LocalAddr().String() != peer.RemoteAddr().String() {
		t.Errorf("client is %v, the server sees %v", c.LocalAddr(), peer.RemoteAddr())
	}
}

// Among two hundred ports of the kernel's choice, two would likely be equal.
func TestDialsComeFromFreshPorts(t *testing.T) {
	ns := netns.New(t)
	to := netip.MustParseAddrPort("127.0.0.1:7")
	taken, err := ns.ListenPacket("udp", "127.0.0.1:10100")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	seen := map[int]bool{10100: true}
	for range 200 {
		c, err := ns.DialUDP(to)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if port := c.LocalAddr().(*net.UDPAddr).Port; seen[port] {
			t.Errorf("port %d was used twice", port)
		} else {
			seen[port] = true
		}
	}
}

func TestSettleIPv6(t *testing.T) {
	a, b := netns.New(t), netns.New(t)
	connectPair(t, a, "10.0.0.1/24", b, "10.0.0.2/24")
	// As a kernel that detects duplicates does: the address is tentative for a second.
	if err := a.SetSysctl("net/ipv6/conf/veth-a/accept_dad", "1"); err != nil {
		t.Fatal(err)
	}
	run(t, a, "ip", "addr", "add", "fd00::1/64", "dev", "veth-a")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	short, stop := context.WithTimeout(ctx, time.Millisecond)
	defer stop()
	if err := a.SettleIPv6(short); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "fd00::1") {
		t.Errorf("at once: %v; want an exceeded deadline and the address", err)
	}
	if err := a.SettleIPv6(ctx); err != nil {
		t.Error(err)
	}
	if out := run(t, a, "ip", "-6", "addr", "show", "tentative"); out != "" {
		t.Errorf("settled with\n%s", out)
	}
	c, err := a.ListenPacket("udp", "[fd00::1]:7")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestDialTCPEndsWithItsContext(t *testing.T) {
	a, b := netns.New(t), netns.New(t)
	connectPair(t, a, "10.0.0.1/24", b, "10.0.0.2/24")
	if err := a.SetSysctl("net/ipv4/neigh/veth-a/retrans_time_ms", "60000"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := a.DialTCP(ctx, netip.MustParseAddrPort("10.0.0.77:7")) // an unused address
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("dial to nobody: %v, want the context's error", err)
	}
}

// connectPair connects two namespaces by a veth with an address at each end.
func connectPair(t *testing.T, a *netns.NS, addrA string, b *netns.NS, addrB string) {
	t.Helper()
	if err := netns.Veth(a, "veth-a", b, "veth-b"); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		a.SetUp("veth-a"), b.SetUp("veth-b"),
		a.AddAddr("veth-a", netip.MustParsePrefix(addrA)),
		b.AddAddr("veth-b", netip.MustParsePrefix(addrB)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	// IPv6 needs both carriers before an address works.
	wait.For(t, "carrier", func() bool {
		la, errA := a.Netlink().LinkByName("veth-a")
		lb, errB := b.Netlink().LinkByName("veth-b")
		return errA == nil && errB == nil && operUp(la) && operUp(lb)
	})
}

func operUp(l netlink.Link) bool {
	return l.Attrs().RawFlags&uint32(net.FlagUp) != 0 && l.Attrs().OperState == netlink.OperUp
}

func openFiles(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

// holders counts the threads on this machine that are in a namespace.
func holders(t *testing.T, ns string) (n int) {
	t.Helper()
	threads, err := filepath.Glob("/proc/[0-9]*/task/[0-9]*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range threads {
		if got, err := os.Readlink(path); err == nil && got == ns {
			n++
		}
	}
	return n
}

func run(t *testing.T, ns *netns.NS, name string, args ...string) string {
	t.Helper()
	out, err := ns.Run(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
