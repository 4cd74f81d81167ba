package netns

import (
	"fmt"
	"os"
	"strings"
)

// SetSysctl writes a value under the namespace's /proc/sys, for instance
// "net/ipv4/conf/wan0/rp_filter". Keys have slashes since link names may have dots.
func (ns *NS) SetSysctl(key, value string) error {
	return ns.Do(func() error { return writeSysctl(key, value) })
}

// Sysctl reads a value, without the newline at its end.
func (ns *NS) Sysctl(key string) (value string, err error) {
	err = ns.Do(func() error {
		b, err := os.ReadFile("/proc/sys/" + key)
		if err != nil {
			return fmt.Errorf("netns: read sysctl: %w", err)
		}
		value = strings.TrimSpace(string(b))
		return nil
	})
	return value, err
}

func writeSysctl(key, value string) error {
	if err := os.WriteFile("/proc/sys/"+key, []byte(value), 0o644); err != nil {
		return fmt.Errorf("netns: write sysctl %s = %s: %w", key, value, err)
	}
	return nil
}
