package routing

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"swerve/failover"
)

// Interface is a device by its present name and its number.
type Interface struct {
	Name  string
	Index int
}

// Setting is a sysctl, of the machine or of an interface, whose value is wrong.
type Setting struct {
	Interface string
	// Key is the sysctl as sysctl(8) takes it, with slashes between its parts since
	// interface names may contain dots: net/ipv4/conf/eth0.7/src_valid_mark.
	Key string
	// Value is the present value, Want the right one.
	Value, Want string
}

// String returns the command that sets it to the right value.
func (s Setting) String() string { return "sysctl -w " + shellWord(s.Key) + "=" + s.Want }

// Lasting returns what to do so that the value is right now and after the next boot, in
// words.
func (s Setting) Lasting() string { return s.String() + ", " + Lasting(s.Key+"="+s.Want) }

// Lasting says, in words, how assignments of sysctls outlive a boot.
func Lasting(assignments ...string) string {
	return "and for the next boots the same in a file of /etc/sysctl.d: " + strings.Join(assignments, " and ")
}

type managedSysctl struct {
	family failover.Family
	leaf   string
}

func (m managedSysctl) key() string { return m.family.String() + "/" + m.leaf }

// managed are the sysctls that are set to 1 for each uplink. All of them apply per
// interface: in IPv4 it is enough if conf/all has the value, in IPv6 only the
// value of the interface counts.
var managed = [...]managedSysctl{
	// Routes by a device without carrier are skipped, so that the kernel itself falls
	// back to the next rung of a ladder.
	{failover.IPv4, "ignore_routes_with_linkdown"},
	{failover.IPv6, "ignore_routes_with_linkdown"},
	// The reverse path is looked up with the packet's mark; otherwise a strict
	// rp_filter would drop the answers of every lane that main does not prefer.
	{failover.IPv4, validMark},
}

const validMark = "src_valid_mark"

const managedValue = "1"

// isManaged reports whether a key, of family and leaf, is one of the managed ones.
func isManaged(key string) bool {
	for _, m := range managed {
		if key == m.key() {
			return true
		}
	}
	return false
}

// Sysctls manages the settings of uplinks' interfaces that the routes rely on, and
// records their previous values. It is for one goroutine, on a thread in the
// network namespace to manage.
type Sysctls struct {
	root   string // /proc/sys/net
	manage bool
	record *record
}

// OpenSysctls opens the record of previous values at path, a file that should not
// outlive the boot, as the sysctls do not. Without manage nothing is ever set. An
// error means that the file cannot be read or decoded: no value can be recorded
// there, so none should be set.
func OpenSysctls(path string, manage bool) (*Sysctls, error) {
	r, err := readRecord(path)
	if err != nil {
		return nil, err
	}
	return &Sysctls{root: "/proc/sys/net", manage: manage, record: r}, nil
}

// Set sets the sysctls of the uplinks' interfaces, and restores those of interfaces
// that are no longer among them. Previous values are recorded before any value is
// written; if they cannot be recorded, none is written. It returns the settings
// that are still wrong at the end, sorted: all of them if they are only reported.
//
// With proxied, src_valid_mark stays as it was: what arrives is marked by another
// program for a transparent proxy, and the reverse path of these packets, looked up with
// their mark, would lead to this machine itself, so the kernel would drop them. Strict
// reverse path filtering is wrong then.
func (s *Sysctls) Set(uplinks []Interface, proxied bool) ([]Setting, error) {
	todo, err := s.wrong(uplinks, proxied)
	if err != nil || !s.manage {
		return append(settings(todo), s.tooStrict(uplinks, proxied)...), err
	}
	left := s.record.others(uplinks, proxied)
	if len(todo) > 0 {
		if err := s.record.remember(todo); err != nil {
			return settings(todo), err
		}
	}
	var failed []change
	var errs []error
	for _, c := range todo {
		if err := s.write(c.Interface, c.Key, managedValue); err != nil {
			failed, errs = append(failed, c), append(errs, err)
		}
	}
	errs = append(errs, s.restore(left))
	return append(settings(failed), s.tooStrict(uplinks, proxied)...), errors.Join(errs...)
}

// tooStrict returns the settings of interfaces that filter reverse paths strictly
// without regard to marks, although nothing can be done about that.
func (s *Sysctls) tooStrict(uplinks []Interface, proxied bool) (out []Setting) {
	for _, u := range uplinks {
		if proxied && s.Strict(u.Name) && !s.marked(u.Name) {
			out = append(out, Setting{Interface: u.Name, Key: "net/ipv4/conf/" + u.Name + "/rp_filter", Value: "1", Want: "2"})
		}
	}
	return out
}

// Restore restores everything that Set has changed, unless it has been changed
// again since. What cannot be restored stays in the file.
func (s *Sysctls) Restore() error { return s.restore(slices.Clone(s.record.Changes)) }

// wrong returns the settings that have to change, with their present values.
func (s *Sysctls) wrong(uplinks []Interface, proxied bool) ([]change, error) {
	var out []change
	var errs []error
	for _, u := range uplinks {
		for _, m := range managed {
			if proxied && m.leaf == validMark {
				continue
			}
			key := m.key()
			value, err := s.value(u.Name, key)
			switch {
			case errors.Is(err, fs.ErrNotExist): // no such interface now, or no IPv6
			case err != nil:
				errs = append(errs, err)
			case value != managedValue:
				out = append(out, change{Interface: u.Name, Index: u.Index, Key: key, Old: value})
			}
		}
	}
	slices.SortFunc(out, compareChanges)
	return out, errors.Join(errs...)
}

// restore restores old values and removes them from the record.
func (s *Sysctls) restore(changes []change) error {
	if len(changes) == 0 {
		return nil
	}
	var errs []error
	var done []change
	for _, c := range changes {
		if err := s.undo(c); err != nil {
			errs = append(errs, err)
			continue
		}
		done = append(done, c)
	}
	return errors.Join(append(errs, s.record.forget(done))...)
}

// undo restores one value. The index finds an interface that was renamed; the
// settings of one that is gone went with it.
func (s *Sysctls) undo(c change) error {
	link, err := net.InterfaceByIndex(c.Index)
	if err != nil {
		return nil
	}
	value, err := s.value(link.Name, c.Key)
	if errors.Is(err, fs.ErrNotExist) || err == nil && value != managedValue {
		return nil
	}
	if err != nil {
		return err
	}
	return s.write(link.Name, c.Key, c.Old)
}

func (s *Sysctls) path(link, key string) string {
	family, leaf, _ := strings.Cut(key, "/")
	return filepath.Join(s.root, family, "conf", link, leaf)
}

func (s *Sysctls) value(link, key string) (string, error) {
	b, err := os.ReadFile(s.path(link, key))
	if err != nil {
		return "", fmt.Errorf("routing: read sysctl: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

func (s *Sysctls) write(link, key, value string) error {
	if err := os.WriteFile(s.path(link, key), []byte(value), 0o644); err != nil {
		return fmt.Errorf("routing: write %s to sysctl: %w", value, err)
	}
	return nil
}

func settings(changes []change) []Setting {
	var out []Setting
	for _, c := range changes {
		family, leaf, _ := strings.Cut(c.Key, "/")
		out = append(out, Setting{
			Interface: c.Interface,
			Key:       "net/" + family + "/conf/" + c.Interface + "/" + leaf,
			Value:     c.Old,
			Want:      managedValue,
		})
	}
	return out
}
