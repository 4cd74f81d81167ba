package daemon

import (
	"errors"
	"strings"
	"testing"

	"swerve/testenv/netns"
)

func TestOneDaemonANamespace(t *testing.T) {
	ns, other := netns.New(t), netns.New(t)
	var first *lock
	var err error
	in(t, ns, func() { first, err = hold("/run/a.sock", "/etc/a.yaml") })
	if err != nil {
		t.Fatal(err)
	}
	in(t, ns, func() {
		_, err := hold("/run/b.sock", "")
		var held *HeldError
		if !errors.As(err, &held) || !strings.Contains(err.Error(), "/run/a.sock") || !strings.Contains(err.Error(), "pid ") {
			t.Errorf("the second daemon got %v, want who holds it", err)
		}
		if got := Holder(); !strings.Contains(got, "/etc/a.yaml") {
			t.Errorf("Holder() = %q", got)
		}
	})
	in(t, other, func() {
		if got := Holder(); got != "" {
			t.Errorf("another namespace is held by %q", got)
		}
	})
	first.release()
	in(t, ns, func() {
		if got := Holder(); got != "" {
			t.Errorf("after release held by %q", got)
		}
	})
}

// in runs f inside the namespace.
func in(t *testing.T, ns *netns.NS, f func()) {
	t.Helper()
	if err := ns.Do(func() error { f(); return nil }); err != nil {
		t.Fatal(err)
	}
}
