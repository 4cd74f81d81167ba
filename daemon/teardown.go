package daemon

import (
	"errors"
	"fmt"

	"swerve/config"
	"swerve/firewall"
	"swerve/lane"
	"swerve/routing"
)

// Teardown removes everything of ours from the kernel and puts the sysctls back.
// It refuses while a daemon runs in this network namespace. What could not be
// removed is in the error; the rest is gone then all the same.
//
// A configuration with problems does not keep it from that, since what is ours is
// known by its protocol and its name. It only says whose marks the flows bear,
// and by the socket where the sysctls' old values lie; the defaults' are taken
// then.
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
	return teardown(kernel, &filter, cfg.Layout(), sysctlFile(socket))
}

// filterRemover is the packet filter as teardown sees it.
type filterRemover interface {
	Teardown(lane.Layout) error
}

// teardown goes from the outside in: first no packet is led into our tables,
// then the tables go, then what marks packets, then the settings.
func teardown(kernel routing.Kernel, filter filterRemover, layout lane.Layout, settings string) error {
	_, routed := routing.Teardown(kernel)
	filtered := filter.Teardown(layout)
	kept, err := routing.OpenSysctls(settings, true)
	if err != nil {
		return errors.Join(routed, filtered, fmt.Errorf("daemon: put sysctls back: %w", err))
	}
	return errors.Join(routed, filtered, kept.Restore())
}
