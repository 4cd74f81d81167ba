// Package privilege removes privileges from tests that run as root, to check how
// code behaves in an ordinary user's user namespace, which has fewer privileges
// than the machine's root.
package privilege

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Without runs fn on a separate thread that lacks a capability, such as
// unix.CAP_NET_ADMIN, and returns when fn has returned. The thread ends with fn;
// goroutines that fn starts run on other threads, with all capabilities. An error
// means that fn was not run.
func Without(capability int, fn func()) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked, so the thread ends with the goroutine
		if err = drop(capability); err == nil {
			fn()
		}
	}()
	<-done
	return err
}

func drop(capability int) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("privilege: capget: %w", err)
	}
	set, bit := &sets[capability/32], uint32(1)<<(capability%32)
	set.Effective &^= bit
	set.Permitted &^= bit
	if err := unix.Capset(&header, &sets[0]); err != nil {
		return fmt.Errorf("privilege: drop capability %d: %w", capability, err)
	}
	return nil
}
