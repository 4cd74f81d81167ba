package daemon

import (
	"errors"
	"fmt"

	"swerve/config"
	"swerve/firewall"
	"swerve/lane"
	"swerve/routing"
)

// Teardown removes everything of ours from the kernel and restores the sysctls. It
// refuses while a daemon runs in this network namespace. The error lists what could
// not be removed; the rest is removed regardless.
//
// A configuration with problems does not prevent it, since our objects are
// identified by their protocol and name, and marks by the masks in rules of ours. The
// configuration only supplies the other numbers and, through the socket's path, the place
// of the sysctls' old values; if it has problems, the defaults are used.
func Teardown(o Options) error {
	cfg, path, found := o.Load()
	if len(found) > 0 {
		cfg = config.Default()
	}
	socket := o.SocketOf(cfg)
	held, err := hold(socket, path)
	if err != nil {
		return err
	}
	defer held.release()
	kernel, err := routing.Open()
	if err != nil {
		return err
	}
	defer kernel.Close()
	var filter firewall.Kernel
	defer filter.Close()
	return teardown(kernel, &filter, markedLayout(cfg, kernel, &filter), sysctlFile(socket))
}

// markedLayout is the layout of a configuration with the masks under which the kernel has
// marks of ours, as far as it tells or is remembered.
func markedLayout(cfg *config.Config, kernel routing.Kernel, filter *firewall.Kernel) lane.Layout {
	// What cannot be read is looked for elsewhere: the teardown goes on without it.
	have, _ := kernel.Read()
	uses, _ := filter.MarkUses()
	past, _ := loadState(cfg.State)
	if l, ok := cfg.Layout().WithMarkMask(standingMask(cfg, have, uses, past)); ok {
		return l
	}
	return past.layout(cfg)
}

// filterRemover is the part of the packet filter that teardown uses.
type filterRemover interface {
	Teardown(lane.Layout) error
}

// teardown reverses the order of a start: first what leads packets and marks them, then
// the settings.
func teardown(kernel ruled, filter filterRemover, layout lane.Layout, settings string) error {
	removed := remove(kernel, filter, layout)
	kept, err := routing.OpenSysctls(settings, true)
	if err != nil {
		return errors.Join(removed, fmt.Errorf("daemon: put sysctls back: %w", err))
	}
	return errors.Join(removed, kept.Restore())
}

// ruled is the part of the kernel's routes and rules that a removal uses.
type ruled interface {
	routing.Kernel
	OtherRules() ([]routing.OtherRule, error)
}

// remove removes our rules, so that no packet is led into our tables, then these, the
// packet filter's table, and what it marked. Where other programs have rules that would
// lead a marked packet elsewhere without ours, those for marks stay until there are none.
func remove(kernel ruled, filter filterRemover, layout lane.Layout) error {
	// What is left of this, and why, the second one says.
	if others, err := kernel.OtherRules(); err == nil && heedMarks(others, layout) {
		_, _ = routing.TeardownUnmarked(kernel, layout)
	} else {
		_, _ = routing.Teardown(kernel)
	}
	filtered := filter.Teardown(layout)
	_, routed := routing.Teardown(kernel)
	return errors.Join(routed, filtered)
}
