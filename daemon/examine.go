package daemon

import (
	"context"
	"io/fs"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"swerve/config"
	"swerve/firewall"
	"swerve/lane"
	"swerve/routing"
)

// Doctor examines this machine, and the daemon on it if there is one, and returns
// what it found, the most severe first. It changes nothing. A configuration that is not
// valid is a finding; the rest is then examined with the default one.
func Doctor(ctx context.Context, o Options) ([]Finding, error) {
	var e exam
	cfg, path, found := o.Load()
	if len(found) > 0 {
		cfg, e.refused = config.Default(), found
		if file, err := os.Open(path); err == nil {
			_ = file.Close()
		} else if isDenied(err) {
			e.denied, e.refused = true, nil
		}
	}
	if err := e.examineSetup(ctx, o, cfg, path); err != nil {
		return nil, err
	}
	e.examineKernel()
	e.programs = programs()
	text, _ := os.ReadFile("/etc/resolv.conf") // without it there are no resolvers
	e.resolvers = resolvers(string(text))
	e.path, e.unreadable = path, unreadable(path)
	e.now = time.Now()
	return e.findings(), nil
}

// unprivileged is a packet filter of which nothing is known where it may not be
// looked at.
type unprivileged struct{ *firewall.Kernel }

// Observe is that of a kernel without a table of ours where reading it is denied.
func (u unprivileged) Observe(l lane.Layout) (firewall.Observed, error) {
	observed, err := u.Kernel.Observe(l)
	if err != nil && isDenied(err) {
		return firewall.Observed{}, nil
	}
	return observed, err
}

// examineSetup prepares the configuration and reads the links and the sysctls.
func (e *exam) examineSetup(ctx context.Context, o Options, cfg *config.Config, path string) error {
	filter := unprivileged{new(firewall.Kernel)}
	defer filter.Close()
	p, err := newPreview(ctx, o, cfg, path, filter)
	if err != nil {
		return err
	}
	defer p.close()
	l := p.loop
	e.neighbor, e.taken = p.neighbor, p.taken
	e.setup, e.links = l.setup, l.picture.links
	settings, err := routing.OpenSysctls("", false)
	if err != nil {
		return err
	}
	var interfaces []routing.Interface
	for _, u := range e.setup.uplinks {
		if u.Enabled && e.links[u.Name].Present {
			interfaces = append(interfaces, routing.Interface{Name: e.links[u.Name].Interface})
		}
	}
	e.settings = settings.Survey(interfaces)
	e.sysctl = func(key string) string {
		b, _ := os.ReadFile(filepath.Join("/proc/sys/net", key)) // a missing one is ""
		return strings.TrimSpace(string(b))
	}
	if g, ok := l.goal(); ok {
		e.goal = l.enforcer.kernel.routingGoal(g)
	}
	e.foreign, e.narrower, e.pins = l.enforcer.kernel.foreign, l.enforcer.kernel.narrower, l.enforcer.kernel.pins
	e.rules, e.unruled = l.enforcer.kernel.routes.OtherRules()
	return nil
}

func (e *exam) examineKernel() {
	e.clashes, e.unfiltered = firewall.Clashes(e.setup.layout)
	var filter firewall.Kernel
	defer filter.Close()
	e.untracked = filter.Tracks()
}

// programs returns the names of the processes in this network namespace, each once,
// sorted; those whose namespace may not be looked at are taken to be in it.
func programs() []string {
	found, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return nil
	}
	own, _ := os.Readlink("/proc/self/ns/net")
	var names []string
	for _, path := range found {
		if ns, err := os.Readlink(filepath.Join(filepath.Dir(path), "ns/net")); err == nil && ns != own {
			continue
		}
		if name, err := os.ReadFile(path); err == nil {
			names = append(names, strings.TrimSpace(string(name)))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// resolvers returns the name servers of a resolv.conf.
func resolvers(text string) (out []netip.Addr) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(words[1]); err == nil {
			out = append(out, a.WithZone("").Unmap())
		}
	}
	return out
}

// unreadable returns the path if the user swerve exists and may not read that file.
func unreadable(path string) string {
	account, err := user.Lookup("swerve")
	if path == "" || err != nil {
		return ""
	}
	if may(path, account, 4) {
		for folder := filepath.Dir(path); may(folder, account, 1); folder = filepath.Dir(folder) {
			if folder == filepath.Dir(folder) {
				return ""
			}
		}
	}
	return path
}

// may reports whether an account has a permission, of 4 to read and 1 to enter, by
// mode, owner and primary group. What cannot be looked at is taken to be permitted.
func may(path string, account *user.User, want fs.FileMode) bool {
	info, err := os.Stat(path)
	if err != nil {
		return true
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return true
	case strconv.Itoa(int(s.Uid)) == account.Uid:
		return info.Mode()>>6&want != 0
	case strconv.Itoa(int(s.Gid)) == account.Gid:
		return info.Mode()>>3&want != 0
	}
	return info.Mode()&want != 0
}
