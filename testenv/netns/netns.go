package netns

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"swerve/testenv/realtime"
)

// ErrClosed is returned by Do, and by everything that uses it, after Close.
var ErrClosed = errors.New("netns: namespace is closed")

// NS is one network namespace. Its methods may be called from any goroutine.
type NS struct {
	file   *os.File // keeps the namespace alive and identifies it to the kernel
	inode  uint64
	inside sync.Map // by thread ID: the threads on which Do may run fn directly
	tasks  chan *task
	quit   chan struct{} // closed by Close
	exited chan struct{} // closed when the worker has ended
	once   sync.Once
	handle *netlink.Handle
	ports  atomic.Uint32 // dials so far
}

// Open makes a namespace. It needs CAP_SYS_ADMIN, as root or inside a user
// namespace. Close it when done.
func Open() (*NS, error) {
	ns := &NS{
		tasks:  make(chan *task),
		quit:   make(chan struct{}),
		exited: make(chan struct{}),
	}
	ready := make(chan error, 1)
	go realtime.Run(func() { ns.work(ready) })
	if err := <-ready; err != nil {
		return nil, err
	}
	if err := ns.Do(ns.prepare); err != nil {
		ns.Close()
		return nil, err
	}
	return ns, nil
}

// TB is the part of testing.TB that New needs. Other programs than tests use this
// package as well, so it does not import testing.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// New makes a namespace for a test and closes it when the test is over. It fails the
// test if a namespace cannot be made: tests are promised the privilege, so its absence
// is no reason to skip.
func New(t TB) *NS {
	t.Helper()
	ns, err := Open()
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(ns.Close)
	return ns
}

// Close ends the worker: processes started with Start are killed by the kernel
// (their Wait returns), and the namespace disappears once its last socket is closed
// and no goroutine is Inside. Close waits for a function that Do is running. A second
// Close does nothing.
func (ns *NS) Close() {
	ns.once.Do(func() {
		close(ns.quit)
		<-ns.exited
		if ns.handle != nil {
			ns.handle.Close()
		}
		ns.file.Close()
	})
}

// Netlink is a handle to rtnetlink and netfilter in this namespace, shared by all
// callers and closed with the namespace.
func (ns *NS) Netlink() *netlink.Handle { return ns.handle }

// Fd returns a descriptor of the namespace for APIs that need one, valid until Close.
func (ns *NS) Fd() int { return int(ns.file.Fd()) }

// Inode is the number that identifies the namespace in the kernel, as in
// /proc/PID/ns/net.
func (ns *NS) Inode() uint64 { return ns.inode }

// String names the namespace as /proc does: net:[4026532000].
func (ns *NS) String() string { return fmt.Sprintf("net:[%d]", ns.inode) }

// prepare runs inside: it makes what every namespace has at the start.
func (ns *NS) prepare() error {
	h, err := netlink.NewHandle()
	if err != nil {
		return fmt.Errorf("netns: open netlink: %w", err)
	}
	ns.handle = h
	for _, s := range startingSysctls {
		if err := writeSysctl(s.key, s.value); err != nil {
			return err
		}
	}
	return ns.SetUp("lo")
}

// startingSysctls make new namespaces equal on every machine: IPv4 copies these from
// the machine's own namespace.
var startingSysctls = [...]struct{ key, value string }{
	{"net/ipv4/ip_forward", "0"},
	{"net/ipv4/conf/all/rp_filter", "0"},
	{"net/ipv4/conf/default/rp_filter", "0"},
	{"net/ipv6/conf/all/accept_dad", "0"},
	{"net/ipv6/conf/default/accept_dad", "0"},
}

// unshare gives the calling thread a new namespace and opens it.
func (ns *NS) unshare() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("netns: unshare the network namespace: %w", err)
	}
	f, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return fmt.Errorf("netns: open the new namespace: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		f.Close()
		return fmt.Errorf("netns: stat the new namespace: %w", err)
	}
	ns.file, ns.inode = f, st.Ino
	return nil
}
