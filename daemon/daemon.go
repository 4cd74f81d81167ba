package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/vishvananda/netlink"

	"swerve/config"
	"swerve/control"
	"swerve/failover"
	"swerve/firewall"
	"swerve/linkmon"
	"swerve/routing"
)

// DefaultConfig is the configuration file unless another is named.
const DefaultConfig = "/etc/swerve/swerve.yaml"

// Options configure a run of the daemon.
type Options struct {
	// Config is the path of the configuration file. If it is empty, DefaultConfig
	// is used, or the default configuration if that file does not exist.
	Config string
	// Socket overrides the configured control socket, if it is not empty.
	Socket string
	// Software is this program's version.
	Software string
	// Hangup yields a token for each request to reload; nil if there are none.
	Hangup <-chan os.Signal
	// Log receives the daemon's log. Its level and format are the caller's choice.
	Log *slog.Logger
	// LogQueue is the writer behind Log, whose dropped lines are reported as a
	// problem; nil if there is none.
	LogQueue *LogQueue
}

// ConfigError reports that the configuration cannot be used, with the reason at
// each place.
type ConfigError struct{ Problems []config.Problem }

// Error implements error.
func (e *ConfigError) Error() string {
	if len(e.Problems) == 1 {
		return "the configuration cannot be used: " + e.Problems[0].String()
	}
	return fmt.Sprintf("the configuration has %d problems, the first: %s", len(e.Problems), e.Problems[0])
}

// Load reads the configuration that the options name. The path is empty if there is
// no file and the default configuration is used.
func (o Options) Load() (cfg *config.Config, path string, found []config.Problem) {
	path = o.Config
	if path == "" {
		path = DefaultConfig
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return config.Default(), "", nil
		}
	}
	cfg, found = config.Load(path)
	return cfg, path, found
}

// SocketOf returns the control socket to use with a configuration.
func (o Options) SocketOf(cfg *config.Config) string {
	if o.Socket != "" {
		return o.Socket
	}
	return cfg.Control.Socket
}

// sysctlFile returns where the old values of sysctls are kept. It is beside the
// socket because both last until the next boot.
func sysctlFile(socket string) string { return filepath.Join(filepath.Dir(socket), "sysctls.json") }

// Run runs the daemon. It returns when ctx ends, leaving the kernel as it is, so
// that traffic continues. If it cannot start, it returns a *ConfigError or a
// *HeldError with the reason.
func Run(ctx context.Context, o Options) error {
	b := begin(o.Load, &clock{today: time.Now, boot: thisBoot()})
	if len(b.found) > 0 {
		return &ConfigError{Problems: b.found}
	}
	socket := o.SocketOf(b.cfg)
	held, err := hold(socket, b.path)
	if err != nil {
		return err
	}
	defer held.release()
	l := newLoop(o, b.cfg, b.path)
	l.found = b
	return l.start(ctx, b.cfg, socket, held)
}

// newLoop returns a loop that has no network, kernel or listeners yet.
func newLoop(o Options, cfg *config.Config, path string) *loop {
	folding := newFolding(o.Log.Handler())
	log := slog.New(folding)
	l := &loop{
		clock: clock{start: time.Now(), today: time.Now, boot: thisBoot()}, log: log, folds: folding.folds, logQueue: o.LogQueue,
		load: o.Load, begun: cfg, hangup: o.Hangup, picture: newPicture(), probing: newProbeCheck(), prover: newProver(),
		requests: make(chan request), ended: make(chan struct{}), ready: make(chan struct{}),
	}
	l.reporter = &reporter{
		software: o.Software, path: path, clock: &l.clock, log: log, notify: newNotifier(log),
		problems: &problems{now: l.clock.now}, outages: newOutages(),
	}
	l.keeper, l.state = openKeeper(cfg.State, log, l.reporter.problems)
	l.reporter.kept = l.state.LastSwitch
	return l
}

// start opens the kernel, adopts its present state, and works until ctx ends.
func (l *loop) start(ctx context.Context, cfg *config.Config, socket string, held *lock) error {
	api := &apiSocket{path: socket, group: cfg.Control.Group, problems: l.reporter.problems, log: l.log}
	if err := api.open(); err != nil {
		return err
	}
	defer api.close()
	if api.listener == nil {
		l.log.Error("there is no room for the control socket", "socket", socket)
	}
	routes, err := routing.Open()
	if err != nil {
		return err
	}
	defer routes.Close()
	monitor, err := linkmon.New(linkmon.Options{Clock: l.clock.now, Log: l.log})
	if err != nil {
		return err
	}
	watch, err := firewall.Watch()
	if err != nil {
		return err
	}
	// Each goroutine has its own packet filter, because each keeps a connection.
	contents := new(firewall.SetContents)
	filter, reading := firewall.Kernel{Contents: contents}, firewall.Kernel{Contents: contents}
	roster := new(firewall.Roster)
	moving, walking := firewall.Kernel{Roster: roster}, firewall.Kernel{Roster: roster}
	var counting, rescuing firewall.Kernel
	defer filter.Close()
	defer reading.Close()
	defer moving.Close()
	defer walking.Close()
	defer counting.Close()
	defer rescuing.Close()
	counts := &filterCounts{filter: &counting, clock: l.clock.now}
	hub := control.NewHub()
	history := openHistory(cfg.State, hub, l.log, l.reporter.problems)
	l.mount(Machine{
		Network: monitor, Routes: routes, Packets: &filter, Sysctls: l.openSysctls(socket, cfg), Flows: &moving, Walks: &walking, ListClients: roster.List,
		Finder: finder{}, HasIPv6: routing.HasIPv6, Bytes: interfaceBytes, Events: hub, FilterChanged: watch.Hints(), FilterGone: watch.Gone(),
		NewFlows: counts.newFlows, Probes: counts.lastProbes, Anew: counts.lastAnew, Sessions: counts.lastSessions, IsModem: IsModem, Medium: MediumOf, Mute: gatewayIsMute,
		ReadSets: reading.ReadSets, Rescued: rescuing.Rescued, Interfaces: interfaceNames,
	})
	if err := l.open(cfg); err != nil {
		return err
	}
	optional := []task{
		{name: "namespace lock", run: func(ctx context.Context) error { return held.watch(ctx, l.reporter.problems) }},
		{name: "event history", run: history.run},
	}
	if l.logQueue != nil {
		optional = append(optional, task{name: "log", run: func(ctx context.Context) error { return l.logQueue.watch(ctx, l.reporter.problems, l.log) }})
	}
	serve := func(ctx context.Context) error {
		return api.serve(ctx, func(listener *control.Listener) *control.Server {
			return control.NewServer(listener, hub, backend{l}, l.log)
		})
	}
	return l.work(ctx, tasks{
		vital: []task{
			{name: "link monitor", run: monitor.Run},
			{name: "packet filter watch", run: watch.Run},
			{name: "control server", run: serve},
		},
		optional: optional,
	})
}

// openSysctls prepares to set sysctls. If their previous values cannot be determined,
// it only prepares to report them, since none may be written then.
func (l *loop) openSysctls(socket string, cfg *config.Config) *routing.Sysctls {
	settings, err := routing.OpenSysctls(sysctlFile(socket), cfg.Kernel.ManageSysctls)
	if err != nil {
		l.reporter.problems.set("sysctl", "sysctl-record", control.Warning, err, "set the values by hand and delete the file")
		settings, _ = routing.OpenSysctls("", false) // with no file there is no error
	}
	return settings
}

// open applies the configuration and adopts what an earlier run left in the
// kernel.
func (l *loop) open(cfg *config.Config) error {
	kernel := l.enforcer.kernel
	have, err := kernel.routes.Read()
	if err != nil {
		return err
	}
	if have, err = l.takeMasks(cfg, have); err != nil {
		return err
	}
	former := have.Lanes(cfg.Layout())
	l.setup.acting = !have.Empty()
	l.defaults = defaultsOf(l.net.Defaults())
	if cfg.AutoUplinks {
		today := l.clock.today()
		l.state.Auto = refreshAuto(adoptAuto(l.state.Auto, former, today), l.defaults.best, today)
	}
	uplinks, _ := uplinksOf(cfg, l.defaults, l.state)
	l.state = l.state.renamed(renames{uplinks: renamedSince(uplinks, former, l.state.Lanes.Uplinks)})
	l.state.Lanes = l.state.Lanes.adopt(uplinks, former)
	if err := l.configure(cfg); err != nil {
		return err
	}
	observed, err := kernel.packets.Observe(l.setup.layout)
	if err != nil {
		return err
	}
	kernel.firstStart, l.enforcer.released = !observed.Exists, observed.Lost
	l.enforcer.former = observed.Lost
	l.recollect(observed, former)
	// What an earlier run had lost is not known yet, so all pins are read.
	if _, err := kernel.readForeign(l.setup.layout, [2][]string{{""}}); err != nil {
		l.log.Warn("begin without the default routes of others", "err", err)
	} else if l.state.Foreign == nil {
		l.state.Foreign = stoodBefore(kernel.foreign, have)
		l.setup.foreign = l.state.Foreign
	}
	l.enforcer.retired = l.setup.retiredSince(former)
	l.engine = failover.New(l.setup.engine)
	today := dated(l)
	adopted := l.setup.adoption(have, observed.Lost, l.state.Patience.after(today), l.state.Lapses.after(today))
	adopted.Silences = l.state.Silences.adopted()
	if !have.Empty() { // at a boot nothing of an earlier run goes on
		adopted.Holds = l.state.Holds.after(today)
		l.state.Overflows.adopt(&adopted)
		adopted.Departed = l.state.Departures.after(&l.clock)
	}
	l.step(l.clock.now(), adopted)
	recall(l)
	resumePending(l, l.found)
	l.net.SetUplinks(l.setup.watchedFirst(have))
	return nil
}

// work runs the loop, the tasks that serve it, and the other tasks, until ctx ends
// or a vital one fails.
func (l *loop) work(ctx context.Context, all tasks) error {
	all.problems, all.log = l.reporter.problems, l.log
	all.vital = append(all.vital,
		task{name: "decision loop", run: l.run, ready: l.ready},
		task{name: "session worker", run: l.enforcer.worker.run},
		task{name: "walks over flows", run: l.enforcer.worker.walks.run},
		task{name: "reload on SIGHUP", run: l.followHangups},
	)
	all.optional = append(all.optional,
		task{name: "counters", run: l.reporter.counters.run},
		task{name: "loads", run: l.reporter.counters.weighs},
		task{name: "sets of addresses", run: l.reporter.sets.run},
		task{name: "rescued addresses", run: l.reporter.rescues.run},
		task{name: "interfaces of rules", run: l.reporter.ruleInterfaces.run},
		task{name: "roster of clients", run: l.roster.run},
		task{name: "state keeper", run: l.keeper.run},
		task{name: "folding of the log", run: l.folds.run},
	)
	var systemd sync.WaitGroup
	systemd.Go(l.reporter.notify.run)
	systemd.Go(func() {
		<-l.ended // the loop sends nothing more; other parts may take longer to end
		l.reporter.notify.stopping()
	})
	err := all.run(ctx, l.notifyReady)
	l.keeper.save() // the changes of the last pass
	systemd.Wait()
	l.folds.flush()
	return err
}

// interfaceBytes reads an interface's byte counters.
func interfaceBytes(index int) (rx, tx uint64, err error) {
	link, err := netlink.LinkByIndex(index)
	if err != nil {
		return 0, 0, fmt.Errorf("daemon: read the counters of interface %d: %w", index, err)
	}
	s := link.Attrs().Statistics
	if s == nil {
		return 0, 0, fmt.Errorf("daemon: read the counters of interface %d: it has none", index)
	}
	return s.RxBytes, s.TxBytes, nil
}
