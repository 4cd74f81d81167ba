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

// Setting is one sysctl of an interface that is not as the routes need it.
type Setting struct {
	Interface string
	// Key is the sysctl as sysctl(8) takes it, slashes between its parts since
	// names of interfaces may have dots: net/ipv4/conf/eth0.7/src_valid_mark.
	Key string
	// Value is the one it has, Want the one it should have.
	Value, Want string
}

// String returns the line that would set it.
func (s Setting) String() string { return "sysctl -w " + shellWord(s.Key) + "=" + s.Want }

type managedSysctl struct {
	family failover.Family
	leaf   string
}

func (m managedSysctl) key() string { return m.family.String() + "/" + m.leaf }

// managed are the sysctls that are written for each uplink, all to 1. All count
// by interface: IPv4 takes a value of conf/all together with it (either will do),
// IPv6 looks at the interface alone.
var managed = [...]managedSysctl{
	// Routes by a device without carrier are passed over, so that the kernel itself
	// steps down a ladder.
	{failover.IPv4, "ignore_routes_with_linkdown"},
	{failover.IPv6, "ignore_routes_with_linkdown"},
	// The reverse path is looked up with the packet's mark: strict rp_filter would
	// drop the answers of every lane that main does not prefer.
	{failover.IPv4, "src_valid_mark"},
}

const managedValue = "1"

// isManaged reports whether a key, family and leaf, is one of those.
func isManaged(key string) bool {
	for _, m := range managed {
		if key == m.key() {
			return true
		}
	}
	return false
}

// Sysctls keeps the settings of uplinks' interfaces that the routes rely on, and
// remembers what they were before. It is for one goroutine, on a thread in the
// network namespace that is meant.
type Sysctls struct {
	root   string // /proc/sys/net
	manage bool
	record *record
}

// OpenSysctls prepares to set sysctls. What they were before is kept in the file
// at path, which should end with the boot as they do. Without manage nothing is
// ever set. An error means that the file cannot be understood: nothing can be kept
// there, so nothing should be set.
func OpenSysctls(path string, manage bool) (*Sysctls, error) {
	r, err := readRecord(path)
	if err != nil {
		return nil, err
	}
	return &Sysctls{root: "/proc/sys/net", manage: manage, record: r}, nil
}

// Set makes the sysctls of the uplinks' interfaces right, and puts those of
// interfaces back that are no longer among them. Old values are kept before a new
// one is written; where they cannot be kept, none is written. It returns the
// settings that are not right at the end, sorted: all of them when they are only
// reported.
func (s *Sysctls) Set(uplinks []Interface) ([]Setting, error) {
	todo, err := s.wrong(uplinks)
	if err != nil || !s.manage {
		return settings(todo), err
	}
	left := s.record.others(uplinks)
	if len(todo) > 0 {
		if err := s.record.keep(todo); err != nil {
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
	errs = append(errs, s.putBack(left))
	return settings(failed), errors.Join(errs...)
}

// Restore puts everything back that Set has changed, where nobody has changed it
// since. What cannot be put back stays in the file.
func (s *Sysctls) Restore() error { return s.putBack(slices.Clone(s.record.Changes)) }

// wrong are the settings that would have to change, with their present values.
func (s *Sysctls) wrong(uplinks []Interface) ([]change, error) {
	var out []change
	var errs []error
	for _, u := range uplinks {
		for _, m := range managed {
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

// putBack writes old values and forgets them.
func (s *Sysctls) putBack(changes []change) error {
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

// undo puts one value back. The number finds an interface that was renamed; one
// that is gone took its settings along.
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
