package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"swerve/control"
	"swerve/testenv/netns"
)

// gateway is a machine with two uplinks, whose gateways answer, and with routes,
// rules, chains and sysctls of other programs.
type gateway struct {
	t       *testing.T
	ns, isp *netns.NS
	folder  string
}

// leaveAlone sets up what belongs to other programs.
const leaveAlone = `
ip -4 route add default via 203.0.113.1 dev wan0 proto dhcp metric 100
ip -4 route add default via 198.51.100.1 dev wan1 proto dhcp metric 101
ip -6 route add default via 2001:db8:1::1 dev wan0 proto ra metric 1024
ip -6 route add default via 2001:db8:2::1 dev wan1 proto ra metric 1025
ip -4 route add 10.99.0.0/16 via 203.0.113.9
ip -4 rule add pref 1000 fwmark 0xca6c lookup 51820
ip -6 rule add pref 32765 lookup main suppress_prefixlength 0
nft add table inet theirs
nft add chain inet theirs forward '{ type filter hook forward priority 0; policy accept; }'
nft add rule inet theirs forward ct state established accept
sysctl -q net/ipv4/conf/wan1/src_valid_mark=1`

func newGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{t: t, ns: netns.New(t), isp: netns.New(t), folder: t.TempDir()}
	for _, ns := range []*netns.NS{g.ns, g.isp} {
		// Link-local addresses would otherwise differ from run to run.
		g.must(ns.SetSysctl("net/ipv6/conf/default/addr_gen_mode", "1"))
		g.must(ns.SetSysctl("net/ipv6/conf/default/accept_ra", "0"))
	}
	for _, c := range []struct{ dev, v4, v6 string }{
		{"wan0", "203.0.113.%d/24", "2001:db8:1::%d/64"},
		{"wan1", "198.51.100.%d/24", "2001:db8:2::%d/64"},
	} {
		g.must(netns.Veth(g.ns, c.dev, g.isp, c.dev))
		for i, ns := range []*netns.NS{g.isp, g.ns} {
			g.must(ns.SetUp(c.dev))
			g.must(ns.AddAddr(c.dev, netip.MustParsePrefix(fmt.Sprintf(c.v4, i+1))))
			g.must(ns.AddAddr(c.dev, netip.MustParsePrefix(fmt.Sprintf(c.v6, i+1))))
		}
	}
	g.eventually("the kernel to know that the links are up", func() bool {
		routes := g.sh("ip -4 route show table all; ip -6 route show table all")
		return !strings.Contains(routes, "linkdown") && strings.Count(routes, "ff00::/8") == 2
	})
	g.sh(leaveAlone)
	g.configure("")
	return g
}

func (g *gateway) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

// configure writes the configuration, with more appended.
func (g *gateway) configure(more string) {
	g.t.Helper()
	g.write("- {name: fiber, interface: wan0}\n  - {name: lte, interface: wan1}", more)
}

// uplinks writes the configuration with other uplinks.
func (g *gateway) uplinks(list string) { g.t.Helper(); g.write(list, "") }

// configureUplinks writes the configuration with more settings for the first
// uplink.
func (g *gateway) configureUplinks(fiber string) {
	g.t.Helper()
	g.write("- {name: fiber, interface: wan0, "+fiber+"}\n  - {name: lte, interface: wan1}", "")
}

func (g *gateway) write(uplinks, more string) {
	g.t.Helper()
	text := fmt.Sprintf(`
uplinks:
  %s
probe: {targets: [gateway]}
failback: {after: 0s, min_interval: 0s}
control: {socket: %s, group: ""}
state: %s/state
%s`, uplinks, g.socket(), g.folder, more)
	g.must(os.WriteFile(g.config(), []byte(text), 0o600))
}

func (g *gateway) config() string { return filepath.Join(g.folder, "swerve.yaml") }
func (g *gateway) socket() string { return filepath.Join(g.folder, "s") }

// sh runs a script in the gateway and returns its output.
func (g *gateway) sh(script string) string {
	g.t.Helper()
	out, err := g.ns.Run("sh", "-ec", script)
	g.must(err)
	return out
}

// picture returns everything in the kernel that the daemon may change, as printed
// by ip, nft and sysctl.
func (g *gateway) picture() string {
	g.t.Helper()
	return g.sh(`ip -4 rule; ip -6 rule; ip -4 route show table all; ip -6 route show table all
		nft -s list ruleset; sysctl -a 2>/dev/null | grep -E '^net.ipv[46].conf' `)
}

// command returns a command that runs one of the package's functions in the
// gateway.
func (g *gateway) command(what string) (cmd *exec.Cmd, stdout *bytes.Buffer, stderr *lockedBuffer) {
	stdout, stderr = new(bytes.Buffer), new(lockedBuffer)
	cmd = g.ns.Command(os.Args[0])
	// The race detector would make each process sleep a second before it exits.
	cmd.Env = append(os.Environ(), insideEnv+"="+what, insideEnv+"_CONFIG="+g.config(), "GORACE=atexit_sleep_ms=50")
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd, stdout, stderr
}

// do runs a command to its end and returns its output; fails checks its failure,
// and is nil if it must succeed.
func (g *gateway) do(what string, fails func(code int, stderr string) bool) string {
	g.t.Helper()
	cmd, stdout, stderr := g.command(what)
	g.must(g.ns.Start(cmd))
	err := cmd.Wait()
	var exit *exec.ExitError
	switch {
	case fails == nil && err != nil, err != nil && !errors.As(err, &exit):
		g.t.Fatalf("%s: %v: %s", what, err, stderr)
	case fails != nil && (err == nil || !fails(exit.ExitCode(), stderr.String())):
		g.t.Fatalf("%s: it ended by %v and said: %s", what, err, stderr)
	}
	return stdout.String()
}

// Without capabilities a plan is refused, and doctor reports what it could not look
// at, and what it could; neither panics.
func TestWithoutCapabilities(t *testing.T) {
	g := newGateway(t)
	g.uplinks("- {name: fiber, interface: wan0}\n  - {name: lte, interface: wan1, gateway: 198.51.100.2}")
	deprived := func(what string) (stdout, stderr string, err error) {
		cmd, out, errs := g.command(what)
		cmd.Path, cmd.Args = "/usr/bin/setpriv", []string{"setpriv", "--bounding-set=-all", "--inh-caps=-all", cmd.Path}
		g.must(g.ns.Start(cmd))
		err = cmd.Wait()
		return out.String(), errs.String(), err
	}
	before := g.picture()
	_, errs, err := deprived("plan")
	if err == nil || strings.Contains(errs, "panic") || !strings.Contains(errs, "operation not permitted") {
		t.Errorf("plan: %v: %s", err, errs)
	}
	out, errs, err := deprived("doctor")
	if err != nil {
		t.Fatalf("doctor: %v: %s", err, errs)
	}
	for _, want := range []string{`"object":"nftables"`, `"not-examined"`, `"forwarding-off"`} {
		if !strings.Contains(out, want) {
			t.Errorf("doctor lacks %s:\n%s", want, out)
		}
	}
	if g.picture() != before {
		t.Error("one of them changed something")
	}
	g.must(os.WriteFile(g.config(), []byte("uplinks: 3\n"), 0o600))
	if _, errs, err = deprived("plan"); err == nil || strings.Contains(errs, "panic") {
		t.Errorf("plan by a bad file: %v: %s", err, errs)
	}
	if out, errs, err = deprived("doctor"); err != nil || !strings.Contains(out, `"config-refused"`) || !strings.Contains(out, `"not-examined"`) {
		t.Errorf("doctor by a bad file: %v: %s%s", err, out, errs)
	}
}

// A machine on which nothing is there yet, not even loopback and table main, is no
// trouble to any command: uplinks are waited for.
func TestBareMachine(t *testing.T) {
	g := newGateway(t)
	g.configure("kernel: {sysctls: report}\n")
	bare := func(what string) (cmd *exec.Cmd, stdout *bytes.Buffer, stderr *lockedBuffer) {
		cmd, stdout, stderr = g.command(what)
		cmd.Path, cmd.Args = "/usr/bin/unshare", []string{"unshare", "--net", cmd.Path}
		g.must(g.ns.Start(cmd))
		return cmd, stdout, stderr
	}
	for _, what := range []string{"plan", "doctor", "init", "warnings", "defaults"} {
		cmd, _, errs := bare(what)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v: %s", what, err, errs)
		}
	}
	p := &process{g: g, client: control.Dial(g.socket())}
	defer p.client.Close()
	p.cmd, _, p.stderr = bare("run")
	p.await("both uplinks are missing", func(s *control.Status) bool {
		return len(s.Uplinks) == 2 && s.Uplinks[0].IPv4.State == control.Down && s.Uplinks[1].IPv4.State == control.Down
	})
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("the end: %v: %s", err, p.stderr)
	}
	if cmd, _, errs := bare("teardown"); cmd.Wait() != nil {
		t.Errorf("teardown: %s", errs)
	}
}

// process is a running daemon.
type process struct {
	g      *gateway
	cmd    *exec.Cmd
	stderr *lockedBuffer
	client *control.Client
}

// start starts a daemon.
func (g *gateway) start() *process {
	g.t.Helper()
	p := &process{g: g, client: control.Dial(g.socket())}
	p.cmd, _, p.stderr = g.command("run")
	g.must(g.ns.Start(p.cmd))
	g.t.Cleanup(func() {
		p.client.Close()
		if p.cmd.ProcessState == nil {
			p.end(syscall.SIGKILL)
		}
		if g.t.Failed() {
			g.t.Logf("the daemon's log:\n%s", p.stderr)
		}
	})
	return p
}

// run starts a daemon and waits until both uplinks are up.
func (g *gateway) run() *process {
	g.t.Helper()
	p := g.start()
	p.await("both uplinks are up", func(s *control.Status) bool { return allUp(s) && untroubled(s) })
	return p
}

// end ends the daemon with a signal and returns its exit error.
func (p *process) end(signal syscall.Signal) error {
	p.g.must(p.cmd.Process.Signal(signal))
	return p.cmd.Wait()
}

// await waits until the status satisfies a condition.
func (p *process) await(what string, so func(*control.Status) bool) {
	p.g.t.Helper()
	var last *control.Status
	var err error
	for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(20 * time.Millisecond) {
		if last, err = p.client.Status(context.Background()); err == nil && so(last) {
			return
		}
	}
	p.g.t.Fatalf("not within a minute: %s: %v, %+v\n%s", what, err, last, p.stderr)
}

// Beside a daemon that goes by an earlier configuration, a plan by the file says so.
func TestPlanBesideAnEarlierConfiguration(t *testing.T) {
	g := newGateway(t)
	p := g.run()
	g.configure("rules: 3\n")
	if _, err := p.client.Reload(t.Context(), 0); err == nil {
		t.Fatal("a bad file was taken")
	}
	if out := g.do("plan", func(code int, _ string) bool { return code != 0 }); out != "" {
		t.Errorf("a plan by a bad file:\n%s", out)
	}
	g.configure("policies: [{name: default, tiers: [lte, fiber]}]\n")
	const note = "# the daemon that runs goes by an earlier configuration: "
	if out := g.do("plan", nil); !strings.HasPrefix(out, note) || !strings.Contains(out, "\nip -4 route replace ") {
		t.Errorf("a plan by another file:\n%s", out)
	}
	p.reload()
	if out := g.do("plan", nil); out != "" {
		t.Errorf("after the reload there is still to do:\n%s", out)
	}
}

var tableText = regexp.MustCompile(`(?s)(table inet swerve \{\n).*(\n\}\n)`)

// The plan lists what a start would do, as lines that other programs can run, and
// is empty once that is done.
func TestPlanIsWhatRunDoes(t *testing.T) {
	g := newGateway(t)
	script := g.do("plan", nil)
	golden(t, "plan.sh", []byte(tableText.ReplaceAllString(script, "$1  (see package firewall)$2")))

	before := g.picture()
	if again := g.do("plan", nil); again != script || g.picture() != before {
		t.Errorf("a plan changes something; the second:\n%s", again)
	}
	g.sh(script)
	byPrograms := g.picture()
	// Rules written by nft(8) lack the marks by which ours are known to be
	// complete.
	if lines := tableText.ReplaceAllString(g.do("plan", nil), ""); strings.Contains(lines, "ip ") || strings.Contains(lines, "sysctl") {
		t.Errorf("after its script the plan has:\n%s", lines)
	}
	if g.sh(g.do("plan", nil)); g.picture() != byPrograms {
		t.Errorf("its lines a second time make\n%s\nand not\n%s", g.picture(), byPrograms)
	}
	g.do("teardown", nil)
	p := g.run()
	if got := g.picture(); got != byPrograms {
		t.Errorf("the daemon makes\n%s\nand the plan's script\n%s", got, byPrograms)
	}
	if got := g.do("plan", nil); got != "" {
		t.Errorf("there is still to do:\n%s", got)
	}
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("the end: %v", err)
	}
	if got := g.picture(); got != byPrograms {
		t.Errorf("its end changed the kernel:\n%s", got)
	}
	if got := g.do("plan", nil); got != "" {
		t.Errorf("after its end there is to do:\n%s", got)
	}
}

func TestTeardownLeavesNothing(t *testing.T) {
	g := newGateway(t)
	before := g.picture()
	g.do("teardown", nil)
	if got := g.picture(); got != before {
		t.Fatalf("a teardown of nothing left\n%s\nwant\n%s", got, before)
	}
	p := g.run()
	if g.picture() == before {
		t.Fatal("the daemon did nothing")
	}
	// A teardown is refused while a daemon runs, and so is a second daemon.
	heldBy := func(code int, stderr string) bool {
		return code == 3 && strings.Contains(stderr, fmt.Sprintf("pid %d", p.cmd.Process.Pid)) && strings.Contains(stderr, g.socket())
	}
	g.do("teardown", heldBy)
	g.do("run", heldBy)
	if err := p.end(syscall.SIGKILL); err == nil {
		t.Error("it was killed and ended well")
	}
	g.do("teardown", nil)
	if got := g.picture(); got != before {
		t.Errorf("left\n%s\nwant\n%s", got, before)
	}
	if _, err := os.Stat(sysctlFile(g.socket())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old sysctls are still kept: %v", err)
	}
}

// The whole daemon, on a real kernel: a carrier is lost, and returns.
func TestRunOnAKernel(t *testing.T) {
	t.Parallel() // it waits, mostly
	g := newGateway(t)
	p := g.run()
	begun := g.picture()
	// The start takes two seconds, during which the first uplink that answers comes
	// first without a switch.
	p.await("the start is over", func(s *control.Status) bool { return s.Now.Sub(s.Daemon.Since.Time) > 3*time.Second })
	g.must(g.isp.SetDown("wan0"))
	p.await("traffic left", func(s *control.Status) bool { return s.SwitchesTotal == 2 })
	s, err := p.client.Status(t.Context())
	g.must(err)
	last := s.LastSwitch
	if last.Kind != "failover" || last.To[0] != "lte" || last.SwitchMS == nil || *last.SwitchMS <= 0 || !strings.Contains(last.Reason, "carrier") {
		t.Errorf("the switch: %+v", last)
	}
	t.Logf("%v ms after the kernel's word, in %v ms", *last.EvidenceMS, *last.SwitchMS)
	for _, way := range []string{"ip -4 route get 192.0.2.77", "ip -6 route get 2001:db8:77::1"} {
		if got := g.sh(way + " mark 0x40000000"); !strings.Contains(got, "dev wan1") {
			t.Errorf("%s: %s", way, got)
		}
	}
	if got := g.sh("nft list map inet swerve dead_ipv4"); !strings.Contains(got, "dead_1") {
		t.Errorf("fiber's flows are not let go of: %s", got)
	}
	g.must(g.isp.SetUp("wan0"))
	g.must(g.isp.AddAddr("wan0", netip.MustParsePrefix("2001:db8:1::1/64"))) // it went with the link
	p.await("traffic is back", func(s *control.Status) bool { return s.SwitchesTotal == 4 })
	p.await("all is well", func(s *control.Status) bool { return untroubled(s) })
	if got := g.picture(); withoutGrace(got) != begun {
		t.Errorf("after a loss and its end:\n%s\nwant\n%s", got, begun)
	}
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("the end: %v", err)
	}
}

// withoutGrace removes what disappears by itself after a minute.
func withoutGrace(picture string) string {
	return strings.Replace(picture, "\t\ttimeout 1m\n\t\telements = { \"wan1\" }\n", "\t\ttimeout 1m\n", 1)
}

// With uplinks: auto there is nothing to plan until a second interface has a
// default route.
func TestPlanOfAuto(t *testing.T) {
	g := newGateway(t)
	text := fmt.Sprintf("uplinks: auto\nstate: %s/state\n", g.folder)
	g.must(os.WriteFile(g.config(), []byte(text), 0o600))
	if got := g.do("plan", nil); !strings.Contains(got, "oif wan0 lookup 5301") || !strings.Contains(got, "oif wan1 lookup 5302") {
		t.Errorf("with two uplinks: %s", got)
	}
	if got := g.do("defaults", nil); got != "wan0 100\nwan1 101\n" {
		t.Errorf("default routes: %q", got)
	}
	g.sh("ip -4 route del default dev wan1; ip -6 route del default dev wan1")
	if got := g.do("plan", nil); got != "" {
		t.Errorf("with one: %s", got)
	}
	if _, err := os.Stat(filepath.Join(g.folder, "state")); err == nil {
		t.Error("a plan has written the state")
	}
}

// All mistakes in a configuration are reported, and nothing is changed.
func TestWrongConfiguration(t *testing.T) {
	g := newGateway(t)
	before := g.picture()
	g.configure("nonsense: 1\nfailback: {}\n")
	for _, what := range []string{"run", "plan"} {
		g.do(what, func(code int, stderr string) bool {
			return code == 1 && strings.Contains(stderr, "2 problems") && strings.Contains(stderr, g.config())
		})
	}
	if g.picture() != before {
		t.Error("the kernel was touched")
	}
}

// untroubled reports whether no problem stands that affects the overall state.
func untroubled(s *control.Status) bool {
	return !slices.ContainsFunc(s.Problems, func(p control.Problem) bool { return p.Severity != control.Info })
}
