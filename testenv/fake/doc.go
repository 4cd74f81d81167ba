// Package fake is a fake kernel for tests of the daemon: routes and rules, the
// packet filter, sysctls and flows, as far as the daemon can distinguish it from a
// real one. The daemon's own tests and the simulator use it.
//
//   - routes.go: slots, rules and devices, with the kernel's answers
//   - packets.go: the table of the packet filter, by its text
//   - sysctls.go, flows.go: the other parts of the kernel that the daemon uses
//   - journal.go: what was done to them, in order
package fake

import "swerve/routing"

// Kernel is all of it.
type Kernel struct {
	Journal *Journal
	Routes  *Routes
	Packets *Packets
	Sysctls *Sysctls
	Flows   *Flows
}

// NewKernel makes a kernel after a boot, with no device. It calls changed after each change
// of its routes.
func NewKernel(changed func()) *Kernel {
	j := new(Journal)
	return &Kernel{
		Journal: j,
		Routes:  &Routes{Journal: j, On: map[int]bool{}, Changed: changed},
		Packets: &Packets{Journal: j, Changed: make(chan struct{}, 1)},
		Sysctls: &Sysctls{Journal: j},
		Flows:   &Flows{Journal: j},
	}
}

// Reboot discards everything that was put into the kernel.
func (k *Kernel) Reboot() {
	k.Routes.Lose(func(routing.Rule) bool { return true }, func(routing.Route) bool { return true })
	k.Packets.Flush()
	k.Sysctls.forget()
}
