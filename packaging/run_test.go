package packaging

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/control"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
	"swerve/testenv/wait"
)

// IDs that nothing else uses: of the user that the unit names, in a root of its own.
const swerveUID, swerveGID = 60123, 60124

// configured is what stands in /etc/swerve/swerve.yaml.
const configured = lab.TwoUplinks + `health: {window: 5s}
`

// installed is an installed package on a lab's gateway, with the clients that use
// the gateway.
type installed struct {
	*testing.T
	*lab.Lab
	lab.Driver
	daemon  *lab.Swerve
	root    string
	told    *lab.Manager
	clients []*traffic.Client
	server  *traffic.Server
}

// The unit's command line, as the unit's user and with no more rights than the unit
// gives, does everything that the daemon has to do.
func TestUnitRunsAndFailsOver(t *testing.T) {
	for _, fault := range []string{"carrier", "black-hole"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			i := install(t)
			i.ready()
			i.isConfined()
			i.isSetUp()
			i.traffic()
			i.answeredBy(lab.Fiber)
			f := i.Break(lab.Fiber, fault)
			i.Await("lte to carry", lab.CarriedBy("lte"))
			i.answeredBy(lab.LTE)
			i.connectionsEnded()
			i.Mend(f)
			i.Await("fiber to answer", func(s *control.Status) bool {
				return s.Uplinks[0].IPv4.State.Answering() && s.Uplinks[0].IPv6.State.Answering()
			})
			i.reload()
			i.noComplaints()
			i.stopAndTeardown()
		})
	}
}

// Without its capabilities it does not start, and names the one that it lacks. So
// the confinement is effective.
func TestUnitWithoutCapabilities(t *testing.T) {
	i := install(t, func(c *confinement) { c.Capabilities = nil })
	if err := i.daemon.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := wait.Bounded(t.Context())
	defer cancel()
	if err := i.daemon.Wait(ctx); err == nil || !strings.Contains(i.daemon.Log(), "CAP_NET_ADMIN") {
		t.Errorf("it ended with %v and logged %q, want it to name what it lacks", err, i.daemon.Log())
	}
}

// install unpacks the deb and does what its script makes systemd do: it adds the user
// and the folders. Nothing is started yet.
func install(t *testing.T, change ...func(*confinement)) *installed {
	t.Helper()
	i := &installed{T: t, Lab: lab.NewTest(t, lab.Options{}), root: unpack(t)}
	i.write("etc/passwd", fmt.Sprintf("root:x:0:0::/:/bin/sh\nswerve:x:%d:%d::/:/bin/false\n", swerveUID, swerveGID))
	i.write("etc/group", fmt.Sprintf("root:x:0:\nswerve:x:%d:\n", swerveGID))
	i.write("etc/swerve/swerve.yaml", configured)
	if err := os.Mkdir(i.path("proc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(read(t, i.path("usr/lib/tmpfiles.d/swerve.conf"))) {
		i.makeFolder(line)
	}
	i.told = lab.ListenNotify(t, i.path("run/notify"))
	args, err := i.confinement(change...).arguments()
	if err != nil {
		t.Fatal(err)
	}
	i.daemon, i.Driver = i.Drive(t, lab.Setup{Installed: args, Socket: i.path("run/swerve/swerve.sock")})
	t.Cleanup(i.close)
	return i
}

// confinement returns that of the installed unit, with a manager to notify.
func (i *installed) confinement(change ...func(*confinement)) confinement {
	i.Helper()
	u := parseUnit(i.T, read(i.T, i.path("usr/lib/systemd/system/swerve.service")))
	c := confinement{
		Root: i.root, Writable: []string{"run/swerve", "var/lib/swerve"},
		Args: strings.Fields(u.last("ExecStart")),
		Env:  []string{"PATH=/usr/bin", "NOTIFY_SOCKET=/run/notify", "WATCHDOG_USEC=600000"},
		UID:  swerveUID, GID: swerveGID, Calls: systemService(i.T),
	}
	umask, err := strconv.ParseUint(u.last("UMask"), 8, 32)
	if err != nil {
		i.Fatal(err)
	}
	c.Umask = int(umask)
	for _, name := range strings.Fields(u.last("AmbientCapabilities")) {
		c.Capabilities = append(c.Capabilities, map[string]int{
			"CAP_NET_ADMIN": unix.CAP_NET_ADMIN, "CAP_NET_RAW": unix.CAP_NET_RAW}[name])
	}
	for _, name := range strings.Fields(u.last("RestrictAddressFamilies")) {
		c.Families = append(c.Families, map[string]uint32{
			"AF_UNIX": unix.AF_UNIX, "AF_INET": unix.AF_INET, "AF_INET6": unix.AF_INET6, "AF_NETLINK": unix.AF_NETLINK,
			"AF_PACKET": unix.AF_PACKET}[name])
	}
	for _, fn := range change {
		fn(&c)
	}
	return c
}

// makeFolder makes the folder of a line of tmpfiles.d.
func (i *installed) makeFolder(line string) {
	i.Helper()
	var kind, path, user, group string
	var mode os.FileMode
	if _, err := fmt.Sscanf(line, "%s %s %o %s %s", &kind, &path, &mode, &user, &group); err != nil || kind != "d" {
		i.Fatalf("tmpfiles has %q: %v", line, err)
	}
	for _, err := range []error{
		os.MkdirAll(i.path(path), 0o755), os.Chmod(i.path(path), mode),
		os.Chown(i.path(path), swerveUID, swerveGID),
	} {
		if err != nil {
			i.Fatal(err)
		}
	}
}

func (i *installed) path(name string) string { return filepath.Join(i.root, name) }

func (i *installed) write(name, text string) {
	i.Helper()
	if err := os.WriteFile(i.path(name), []byte(text), 0o644); err != nil {
		i.Fatal(err)
	}
}

func (i *installed) close() {
	var stopping sync.WaitGroup // a client waits for pending answers
	for _, c := range i.clients {
		stopping.Go(c.Stop)
	}
	stopping.Wait()
	if i.server != nil {
		i.server.Close()
	}
}

// ready starts the unit's command line and waits until it has notified systemd that
// it is ready.
func (i *installed) ready() {
	i.Helper()
	i.Start()
	i.Until("READY", func() bool { return i.told.Count("READY=1") > 0 })
	i.Until("WATCHDOG", func() bool { return i.told.Count("WATCHDOG=1") > 1 })
	i.Await("fiber to carry, and all to be up", lab.Settled)
}

// isConfined checks that the process has no more rights than the unit gives.
func (i *installed) isConfined() {
	i.Helper()
	status := read(i.T, fmt.Sprintf("/proc/%d/status", i.daemon.Pid()))
	ids := func(n int) string { return strings.Repeat(fmt.Sprintf("\t%d", n), 4) }
	for _, want := range []string{
		"Uid:" + ids(swerveUID), "Gid:" + ids(swerveGID), "Groups:\t", "NoNewPrivs:\t1", "Seccomp:\t2",
		"CapPrm:\t0000000000003000", "CapEff:\t0000000000003000", "CapBnd:\t0000000000003000",
	} {
		if !strings.Contains("\n"+status, "\n"+want) {
			i.Errorf("its status has no %q:\n%s", want, status)
		}
	}
}

// isSetUp checks for everything that a start sets up: socket, state, sysctls, rules,
// routes and the nftables table.
func (i *installed) isSetUp() {
	i.Helper()
	info, err := os.Stat(i.path("run/swerve/swerve.sock"))
	if err != nil {
		i.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	if info.Mode().Perm() != 0o660 || owner.Uid != swerveUID || owner.Gid != swerveGID {
		i.Errorf("the socket is %v of %d:%d, want 0660 of the unit's", info.Mode(), owner.Uid, owner.Gid)
	}
	for _, name := range []string{"var/lib/swerve/state.json", "run/swerve/sysctls.json"} {
		i.Until(name, func() bool { _, err := os.Stat(i.path(name)); return err == nil })
	}
	for key, want := range map[string]string{
		"net/ipv4/conf/wan0/ignore_routes_with_linkdown": "1",
		"net/ipv6/conf/wan1/ignore_routes_with_linkdown": "1",
		"net/ipv4/conf/wan1/src_valid_mark":              "1",
	} {
		if got, err := i.Gateway.Sysctl(key); err != nil || got != want {
			i.Errorf("%s is %q (%v), want %s", key, got, err, want)
		}
	}
	i.holds(true)
}

// holds compares the kernel, as ip and nft list it, with having Swerve's or not.
func (i *installed) holds(want bool) {
	i.Helper()
	for command, ours := range map[string]string{
		"ip rule": "proto 83", "ip -6 rule": "proto 83", "nft list tables": "inet swerve",
		"ip route show table all": "proto 83", "ip -6 route show table all": "proto 83",
	} {
		words := strings.Fields(command)
		out, err := i.Gateway.Run(words[0], words[1:]...)
		if err != nil {
			i.Fatal(err)
		}
		if strings.Contains(out, ours) != want {
			i.Errorf("%s has %q: %v, want %v:\n%s", command, ours, !want, want, out)
		}
	}
}

// traffic starts clients on the LAN and on the gateway itself, in both families.
func (i *installed) traffic() {
	i.Helper()
	var err error
	if i.server, err = traffic.Serve(i.Internet, lab.Servers[:]...); err != nil {
		i.Fatal(err)
	}
	for _, to := range lab.Servers {
		for _, kind := range []traffic.Kind{traffic.UDPSessions, traffic.UDPStream, traffic.TCPStream} {
			i.client(to, kind, false)
		}
		i.client(to, traffic.TCPStream, true)
	}
}

func (i *installed) client(to netip.Addr, kind traffic.Kind, own bool) {
	i.Helper()
	from := i.Client
	if own {
		from = i.Gateway
	}
	c, err := traffic.Start(from, kind, to, traffic.Options{Rate: 50, Timeout: 3 * time.Second})
	if err != nil {
		i.Fatal(err)
	}
	i.clients = append(i.clients, c)
}

// answeredBy waits until every client gets its answers by an uplink.
func (i *installed) answeredBy(uplink int) {
	i.Helper()
	plan := i.Uplinks[uplink]
	since := time.Now()
	for n, c := range i.clients {
		i.Until(fmt.Sprintf("client %d to be answered by %s", n, plan.Interface), func() bool {
			count := 0
			for _, r := range c.Log() {
				if r.Sent.After(since) && !r.Answered.IsZero() && (r.Via == plan.Address4 || r.Via == plan.Address6) {
					count++
				}
			}
			return count > 10
		})
	}
}

// connectionsEnded checks that each TCP connection was ended once the uplink was lost:
// those of the LAN by a reset, the gateway's own by the kernel.
func (i *installed) connectionsEnded() {
	i.Helper()
	for n, c := range i.clients {
		if c.Kind == traffic.TCPStream && len(c.Breaks()) == 0 {
			i.Errorf("the connection of client %d was not ended", n)
		}
	}
}

// reload sends what systemd does and wants systemd to be notified of the beginning and end.
func (i *installed) reload() {
	i.Helper()
	ready := i.told.Count("READY=1")
	if err := i.daemon.Signal(syscall.SIGHUP); err != nil {
		i.Fatal(err)
	}
	i.Until("RELOADING, then READY", func() bool {
		return i.told.Count("RELOADING=1\nMONOTONIC_USEC=") == 1 && i.told.Count("READY=1") == ready+1
	})
	i.Await("another generation", func(s *control.Status) bool { return s.Daemon.Generation == 2 })
}

// noComplaints checks that neither the kernel nor the unit has refused anything.
func (i *installed) noComplaints() {
	i.Helper()
	for _, p := range i.Status().Problems {
		if p.Code != "uplink-down" && p.Severity != control.Info {
			i.Errorf("problem %s: %s", p.Code, p.Text)
		}
	}
	for _, word := range []string{"operation not permitted", "permission denied", "read-only file system", "not supported by protocol"} {
		if strings.Contains(i.daemon.Log(), word) {
			i.Errorf("something was refused: %s", word)
		}
	}
}

// stopAndTeardown stops the daemon as systemd does, which leaves everything in place,
// and tears it down as the removal of the package does.
func (i *installed) stopAndTeardown() {
	i.Helper()
	i.Stop()
	i.Until("STOPPING", func() bool { return i.told.Count("STOPPING=1") == 1 })
	i.holds(true)
	c := i.confinement(func(c *confinement) { c.Free, c.Args = true, []string{"/usr/bin/swerve", "teardown"} })
	args, err := c.arguments()
	if err != nil {
		i.Fatal(err)
	}
	if _, err := i.Gateway.Run(args[0], args[1:]...); err != nil {
		i.Error(err)
	}
	i.holds(false)
	if got, err := i.Gateway.Sysctl("net/ipv4/conf/wan0/ignore_routes_with_linkdown"); err != nil || got != "0" {
		i.Errorf("after teardown ignore_routes_with_linkdown is %q, %v", got, err)
	}
}
