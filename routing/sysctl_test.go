package routing

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/testenv/netns"
)

const (
	linkdown4 = "net/ipv4/conf/%s/ignore_routes_with_linkdown"
	linkdown6 = "net/ipv6/conf/%s/ignore_routes_with_linkdown"
	vmark     = "net/ipv4/conf/%s/src_valid_mark"
)

// uplinks are the lab's interfaces, as Set takes them.
func (l *lab) uplinks(names ...string) []Interface {
	var out []Interface
	for _, name := range names {
		out = append(out, Interface{name, l.index(name)})
	}
	return out
}

// sysctls opens the file and calls fn in the gateway.
func (l *lab) sysctls(file string, manage bool, fn func(*Sysctls) error) {
	l.t.Helper()
	l.must(l.gw.Do(func() error {
		s, err := OpenSysctls(file, manage)
		if err != nil {
			return err
		}
		return fn(s)
	}))
}

// set calls Set and expects the given number of settings to remain wrong.
func (l *lab) set(file string, manage bool, wrong int, names ...string) {
	l.t.Helper()
	uplinks := l.uplinks(names...)
	l.sysctls(file, manage, func(s *Sysctls) error {
		left, err := s.Set(uplinks, false)
		if len(left) != wrong {
			return fmt.Errorf("%d settings are wrong, want %d: %v", len(left), wrong, left)
		}
		return err
	})
}

// allSysctls returns those of all interfaces that can be read.
func (l *lab) allSysctls() string {
	l.t.Helper()
	return l.sh("cd /proc/sys/net; grep -r . ipv4/conf ipv6/conf 2>/dev/null | sort")
}

func (l *lab) restore(file string) {
	l.t.Helper()
	l.sysctls(file, true, (*Sysctls).Restore)
}

// expect compares a device's three sysctls with a text such as "1 1 0".
func (l *lab) expect(dev, want string) {
	l.t.Helper()
	var got []string
	for _, key := range []string{linkdown4, linkdown6, vmark} {
		v, err := l.gw.Sysctl(fmt.Sprintf(key, dev))
		l.must(err)
		got = append(got, v)
	}
	if strings.Join(got, " ") != want {
		l.t.Errorf("%s: ignore_routes_with_linkdown (IPv4, IPv6) and src_valid_mark are %v, want %s", dev, got, want)
	}
}

func TestSysctlsAreSetAndPutBack(t *testing.T) {
	l, file := newLab(t), t.TempDir()+"/sysctls.json"
	l.must(l.gw.SetSysctl(fmt.Sprintf(linkdown4, "wan1"), "1"))
	before := l.allSysctls()
	l.set(file, true, 0, "wan0", "wan1")
	l.expect("wan0", "1 1 1")
	l.expect("wan1", "1 1 1")
	l.expect("all", "0 0 0")
	var kept record
	b, err := os.ReadFile(file)
	l.must(err)
	l.must(json.Unmarshal(b, &kept))
	if kept.Version != 1 || len(kept.Changes) != 5 {
		t.Errorf("the file keeps %+v, want version 1 and the five that were changed", kept)
	}
	l.set(file, true, 0, "wan0", "wan1") // as after a restart
	if again, _ := os.ReadFile(file); string(again) != string(b) {
		t.Errorf("a second start keeps\n%s, first it was\n%s", again, b)
	}
	l.restore(file)
	if after := l.allSysctls(); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file is still there (%v)", err)
	}
}

// Beside a transparent proxy the reverse path does not depend on marks: what was set is
// put back, what others set stays, and strict filtering is told.
func TestSysctlsBesideATransparentProxy(t *testing.T) {
	l, file := newLab(t), t.TempDir()+"/sysctls.json"
	l.must(l.gw.SetSysctl(fmt.Sprintf(vmark, "wan1"), "1")) // by somebody else
	uplinks := l.uplinks("wan0", "wan1")
	set := func(manage, proxied bool) (out []string) {
		l.sysctls(file, manage, func(s *Sysctls) error {
			left, err := s.Set(uplinks, proxied)
			for _, setting := range left {
				out = append(out, setting.String())
			}
			return err
		})
		return out
	}
	expect := func(wan0, wan1 string, wrong, want []string) {
		t.Helper()
		l.expect("wan0", wan0)
		l.expect("wan1", wan1)
		if !slices.Equal(wrong, want) {
			t.Errorf("wrong are %q, want %q", wrong, want)
		}
	}
	expect("1 1 0", "1 1 1", set(true, true), nil)
	expect("1 1 1", "1 1 1", set(true, false), nil)
	expect("1 1 0", "1 1 1", set(true, true), nil)
	l.must(l.gw.SetSysctl("net/ipv4/conf/all/rp_filter", "1"))
	strict := []string{"sysctl -w net/ipv4/conf/wan0/rp_filter=2"}
	expect("1 1 0", "1 1 1", set(true, true), strict)
	expect("1 1 0", "1 1 1", set(false, true), strict)
	expect("1 1 1", "1 1 1", set(true, false), nil)
	l.restore(file)
	expect("0 0 0", "0 0 1", nil, nil)
}

func TestSysctlsOfAFormerUplink(t *testing.T) {
	l, file := newLab(t), t.TempDir()+"/sysctls.json"
	l.set(file, true, 0, "wan0", "wan1")
	l.set(file, true, 0, "wan1")
	l.expect("wan0", "0 0 0")
	l.expect("wan1", "1 1 1")
}

// A renamed interface is found by its index, a new one of the same name is not
// mistaken for the old one, and dots in a name are not separators.
func TestSysctlsOfInterfacesThatComeAndGo(t *testing.T) {
	l, file := newLab(t), t.TempDir()+"/sysctls.json"
	l.set(file, true, 0, "wan0", "wan1")
	l.sh("ip link set wan1 down; ip link set wan1 name wan1.7; ip link set wan1.7 up; ip link del wan0")
	l.must(netns.Veth(l.gw, "wan0", l.isp, "wan0"))
	l.expect("wan0", "0 0 0")
	l.set(file, true, 0, "wan0", "wan1.7")
	l.expect("wan0", "1 1 1")
	l.must(l.gw.SetSysctl(fmt.Sprintf(vmark, "wan1.7"), "0")) // by somebody else
	l.restore(file)
	l.expect("wan0", "0 0 0")
	l.expect("wan1.7", "0 0 0")
}

func TestSysctlsOnlyReported(t *testing.T) {
	l, file := newLab(t), t.TempDir()+"/sysctls.json"
	l.set(file, false, 3, "wan0")
	l.expect("wan0", "0 0 0")
	l.must(l.gw.Do(func() error {
		s, err := OpenSysctls(file, false)
		if err != nil {
			return err
		}
		left, err := s.Set([]Interface{{"wan0", 2}, {"gone0", 77}}, false)
		if want := "sysctl -w net/ipv4/conf/wan0/ignore_routes_with_linkdown=1"; err == nil && left[0].String() != want {
			err = fmt.Errorf("reported as %q, want %q", left[0], want)
		}
		return err
	}))
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("a file was written (%v)", err)
	}
}

// On a full disk none is set. With space again they are set, and can be restored.
func TestSysctlsOnAFullDisk(t *testing.T) {
	l := newLab(t)
	uplinks, folder := l.uplinks("wan0"), t.TempDir()
	if err := unix.Mount("tmpfs", folder, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(folder, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(folder+"/filler", make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("the disk cannot be filled up")
	}
	err := l.gw.Do(func() error {
		s, err := OpenSysctls(folder+"/sysctls.json", true)
		if err != nil {
			return err
		}
		if _, err := s.Set(uplinks, false); !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "none is written") {
			t.Errorf("set on a full disk: %v", err)
		}
		l.expect("wan0", "0 0 0")
		if err := os.Remove(folder + "/filler"); err != nil {
			return err
		}
		if left, err := s.Set(uplinks, false); err != nil || len(left) > 0 {
			t.Errorf("set with space again: %v, %v", left, err)
		}
		l.expect("wan0", "1 1 1")
		return s.Restore()
	})
	if err != nil {
		t.Error(err)
	}
	l.expect("wan0", "0 0 0")
}

// If the old values cannot be recorded, none is written.
func TestSysctlsThatCannotBeKept(t *testing.T) {
	l := newLab(t)
	uplinks := l.uplinks("wan0")
	err := l.gw.Do(func() error {
		s, err := OpenSysctls(t.TempDir()+"/no/such/folder/sysctls.json", true)
		if err != nil {
			return err
		}
		left, err := s.Set(uplinks, false)
		if len(left) != 3 {
			t.Errorf("%d settings left, want 3", len(left))
		}
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "none is written") {
		t.Errorf("set: %v, want it to say that none is written", err)
	}
	l.expect("wan0", "0 0 0")
}

func TestSysctlsFileOfAnotherVersion(t *testing.T) {
	for text, want := range map[string]string{
		`{"version":2}`: "format version 2, but this version of Swerve reads 1",
		`{"version":`:   "unexpected end of JSON input",
		"\x00\x00\x00":  "invalid character",
		`{"version":1,"changes":[{"interface":"wan0","key":"../../../kernel/core_pattern","old":"1"}]}`: "not a sysctl that Swerve sets",
		`{"version":1,"changes":[{"interface":"wan0","key":"ipv4/src_valid_mark","old":"|/x"}]}`:        "not a value of ipv4/src_valid_mark",
		strings.Repeat(" ", recordLimit+1): "more than 1048576 bytes",
		``:                                 "unexpected end of JSON input",
	} {
		file := t.TempDir() + "/sysctls.json"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenSysctls(file, true); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// Any file is either rejected or one that we could have written.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"version":1,"changes":[{"interface":"wan0","index":3,"key":"ipv4/src_valid_mark","old":"0"}]}`))
	f.Add([]byte(`{"version":1,"changes":null}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := &record{Version: recordVersion}
		if err := r.decode(b); err != nil {
			return
		}
		for _, c := range r.Changes {
			if !isManaged(c.Key) || strings.ContainsAny(c.Old, "/ ") {
				t.Errorf("accepted: %+v", c)
			}
		}
		again := &record{path: t.TempDir() + "/sysctls.json", Version: r.Version, Changes: r.Changes}
		if err := again.save(); err != nil {
			t.Fatal(err)
		}
		if read, err := readRecord(again.path); err != nil || !slices.Equal(read.Changes, r.Changes) {
			t.Errorf("written as %+v, read as %+v: %v", r.Changes, read, err)
		}
	})
}

func TestSurvey(t *testing.T) {
	l, file := newLab(t), t.TempDir()+"/sysctls.json"
	survey := func() (out string) {
		l.sysctls(file, false, func(s *Sysctls) error {
			for _, f := range s.Survey([]Interface{{Name: "wan0"}, {Name: "wan1"}}) {
				out += f.Key + "=" + f.Value + "→" + f.Want + " "
			}
			return nil
		})
		return out
	}
	if got, want := survey(), "net/ipv4/ip_forward=0→1 net/ipv6/conf/all/forwarding=0→1 "; got != want {
		t.Errorf("a host: %q, want %q", got, want)
	}
	l.must(l.gw.SetSysctl("net/ipv4/ip_forward", "1"))
	l.must(l.gw.SetSysctl("net/ipv6/conf/all/forwarding", "1"))
	l.must(l.gw.SetSysctl("net/ipv4/conf/all/rp_filter", "1"))
	l.must(l.gw.SetSysctl("net/ipv4/conf/wan1/rp_filter", "2"))
	l.must(l.gw.SetSysctl("net/ipv6/conf/wan1/accept_ra", "1"))
	want := "net/ipv4/conf/wan0/rp_filter=1→2 net/ipv6/conf/wan1/accept_ra=1→2 "
	if got := survey(); got != want {
		t.Errorf("a router: %q, want %q", got, want)
	}
	l.must(l.gw.SetSysctl(fmt.Sprintf(vmark, "wan0"), "1"))
	if got, want := survey(), "net/ipv6/conf/wan1/accept_ra=1→2 "; got != want {
		t.Errorf("with src_valid_mark: %q, want %q", got, want)
	}
}

// Forwarding is a matter of each interface in IPv4, and of the machine in IPv6.
func TestSurveyOfForwarding(t *testing.T) {
	l, file := newLab(t), t.TempDir()+"/sysctls.json"
	l.sh("ip link add lan0 type veth peer name lan0p; ip link set lan0 up; ip address add 192.168.1.1/24 dev lan0; " +
		"ip link add lan1 type veth peer name lan1p; ip link set lan1 up; ip address add 192.168.2.1/24 dev lan1; ip link add spare type veth peer name sparep")
	for _, c := range []struct{ set, want string }{
		{"net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1", ""},
		{"net.ipv4.conf.wan1.forwarding=0", "wan1 ipv4/conf/wan1/forwarding false"},
		{"net.ipv4.conf.wan1.forwarding=1 net.ipv4.conf.spare.forwarding=0 net.ipv4.conf.lo.forwarding=0", ""},
		{"net.ipv4.conf.lan1.forwarding=0", "lan1 ipv4/conf/lan1/forwarding true"},
		{"net.ipv4.conf.lan0.forwarding=0", "lan0 ipv4/conf/lan0/forwarding false lan1 ipv4/conf/lan1/forwarding false"},
		{"net.ipv4.ip_forward=0", " ipv4/ip_forward false"},
		{"net.ipv4.conf.lan0.forwarding=1 net.ipv4.conf.lan1.forwarding=1 net.ipv4.conf.wan0.forwarding=1 net.ipv4.conf.wan1.forwarding=1", ""},
		{"net.ipv6.conf.wan1.forwarding=0", ""},
		{"net.ipv6.conf.all.forwarding=0 net.ipv6.conf.wan0.forwarding=1 net.ipv6.conf.wan1.forwarding=1", " ipv6/conf/all/forwarding false"},
	} {
		l.sh("sysctl -qw " + c.set)
		var got []string
		l.sysctls(file, false, func(s *Sysctls) error {
			for _, f := range s.Survey([]Interface{{Name: "wan0"}, {Name: "wan1"}}) {
				got = append(got, fmt.Sprintf("%s %s %v", f.Interface, strings.TrimPrefix(f.Key, "net/"), f.Minor))
			}
			return nil
		})
		if strings.Join(got, " ") != c.want {
			t.Errorf("after %s: %q, want %q", c.set, got, c.want)
		}
	}
	if l.sh("ls /proc/sys/net/ipv6/conf/wan0 | grep force_forwarding || true") != "" { // newer kernels
		l.sh("sysctl -qw net.ipv6.conf.wan0.force_forwarding=1 net.ipv6.conf.wan1.force_forwarding=1")
		l.sysctls(file, false, func(s *Sysctls) error {
			if found := s.Survey([]Interface{{Name: "wan0"}, {Name: "wan1"}}); len(found) != 0 {
				t.Errorf("forwarding by force: %+v", found)
			}
			return nil
		})
	}
	l.sh("sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv6.conf.wan0.accept_ra=1 net.ipv6.conf.wan1.accept_ra=1 net.ipv6.conf.wan1.disable_ipv6=1")
	l.sysctls(file, false, func(s *Sysctls) error {
		if found := s.Survey([]Interface{{Name: "wan0"}, {Name: "wan1"}}); len(found) != 1 || found[0].Interface != "wan0" {
			t.Errorf("accept_ra with IPv6 off on wan1: %+v", found)
		}
		return nil
	})
}

func TestHasIPv6(t *testing.T) {
	l := newLab(t)
	ask := func() (has bool) {
		l.must(l.gw.Do(func() error { has = HasIPv6(); return nil }))
		return has
	}
	if !ask() {
		t.Error("a machine with IPv6 addresses has no IPv6")
	}
	l.must(l.gw.SetSysctl("net/ipv6/conf/all/disable_ipv6", "1"))
	if ask() {
		t.Error("a machine with IPv6 off everywhere has IPv6")
	}
	l.must(l.gw.SetSysctl("net/ipv6/conf/wan1/disable_ipv6", "0"))
	if !ask() {
		t.Error("a machine with IPv6 on one interface has none")
	}
}

func TestPathOf(t *testing.T) {
	link := failover.Link{Interface: "wan0", Index: 2, Present: true, AdminUp: true}
	link.Family[failover.IPv6] = failover.FamilyLink{
		Addresses: []netip.Prefix{netip.MustParsePrefix("2001:db8::2/64")}, Gateway: netip.MustParseAddr("fe80::1%wan0"),
	}
	p := PathOf(link, failover.IPv6, true)
	if !p.Routable || !p.FromRule || p.Gateway.String() != "fe80::1" || p.Addresses[0].String() != "2001:db8::2" {
		t.Errorf("path of a link: %+v", p)
	}
	if p := PathOf(link, failover.IPv4, false); p.Routable || p.FromRule || p.Gateway.IsValid() || p.Addresses != nil {
		t.Errorf("path of a family that is not offered: %+v", p)
	}
}
