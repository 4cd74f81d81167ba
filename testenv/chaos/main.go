package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"swerve/testenv/lab"
	"swerve/testenv/traffic"
	"swerve/testenv/wait"
)

var uplinkNames = []string{"fiber", "lte", "sat"}

var servers = lab.Servers

// quick is a configuration in which an uplink comes back soon: how fast a loss is
// detected stays the default.
const quick = `health: {window: 5s, damping: {half_life: 2s, suppress: 12, reuse: 6}}
failback: {after: 2s, min_interval: 1s}
`

// options are the command line's.
type options struct {
	binary, command string // of the daemon, and of its commands
	seed            uint64
	lasts           time.Duration
	defaults        bool
	list            bool
	raced           bool // the daemon has the race detector
	pick, without   string
	daemonLog       string
	profiles        string
	uplinks         int  // 0: as the seed has it
	soak            bool // links and routes alone, and figures of all the time
	instrumented    bool // the daemon was built with writeOverlay's
}

func main() {
	var o options
	flag.StringVar(&o.binary, "swerve", "./bin/swerve", "the daemon's `BINARY`")
	flag.Uint64Var(&o.seed, "seed", 0, "of all random choices; 0: another one each time")
	flag.DurationVar(&o.lasts, "for", 5*time.Minute, "how long the storm lasts")
	flag.BoolVar(&o.defaults, "defaults", false, "configure nothing but the uplinks (calm takes minutes longer)")
	flag.BoolVar(&o.list, "list", false, "list the faults, and play none")
	flag.StringVar(&o.pick, "pick", "", "play these of the faults alone: `NUMBERS`, as 3,17-19")
	flag.StringVar(&o.without, "without", "", "leave out these `KINDS` of faults, as kill,memory")
	flag.IntVar(&o.uplinks, "uplinks", 0, "how many `UPLINKS`, 2 or 3; 0: as the seed has it")
	flag.BoolVar(&o.soak, "soak", false, "leave the daemon alone, and watch that nothing grows")
	flag.BoolVar(&o.instrumented, "instrumented", false, "the daemon was built with the overlay: its clock can be set")
	flag.StringVar(&o.profiles, "profiles", "", "write heap profiles of a soak, after two minutes and at the end, to a `FOLDER`")
	overlay := flag.String("write-overlay", "", "write the overlay for go build to a `FOLDER`, and play nothing")
	flag.StringVar(&o.daemonLog, "daemon-log", "", "write the daemon's log to a `FILE`")
	flag.Parse()
	if *overlay != "" {
		if err := writeOverlay(*overlay); err != nil {
			fmt.Fprintln(os.Stderr, "chaos:", err)
			os.Exit(1)
		}
		return
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o, os.Stdout)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

// run plays a storm, and returns an error if something broke.
func run(ctx context.Context, o options, out io.Writer) error {
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	if o.uplinks == 0 {
		o.uplinks = 2 + int(o.seed%2)
	}
	faults, err := o.choose(o.schedule())
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "the same again: make chaos CHAOSFLAGS=%q; %d faults, %d uplinks\n", o.flags(), len(faults), o.uplinks)
	if o.list {
		for _, f := range faults {
			fmt.Fprintf(out, "%9.3f  #%d %s\n", f.at.Seconds(), f.number, f)
		}
		return nil
	}
	if o.binary, err = filepath.Abs(o.binary); err != nil {
		return err
	}
	if o.command == "" {
		o.command = o.binary
	}
	s, err := newStage(o, out)
	if err != nil {
		return err
	}
	defer s.close()
	return s.play(ctx, faults)
}

// schedule returns the faults that the options may choose of.
func (o options) schedule() []fault {
	if !o.soak {
		return schedule(o.seed, o.lasts, o.uplinks)
	}
	return scheduleOf(soaking(), o.seed, o.lasts, o.uplinks)
}

// flags returns the command line that plays the same again.
func (o options) flags() string {
	text := fmt.Sprintf("-seed %d -for %v", o.seed, o.lasts)
	if o.uplinks != 2+int(o.seed%2) {
		text += fmt.Sprintf(" -uplinks %d", o.uplinks)
	}
	if o.soak {
		text += " -soak"
	}
	if o.defaults {
		text += " -defaults"
	}
	if o.pick != "" {
		text += " -pick " + o.pick
	}
	if o.without != "" {
		text += " -without " + o.without
	}
	return text
}

// choose leaves out the faults that the options do not want.
func (o options) choose(all []fault) (chosen []fault, err error) {
	picked := map[int]bool{}
	for part := range strings.SplitSeq(o.pick, ",") {
		var from, to int
		if n, _ := fmt.Sscanf(part, "%d-%d", &from, &to); n == 1 {
			to = from
		} else if n == 0 && part != "" {
			return nil, fmt.Errorf("-pick: %q is no number and no range", part)
		}
		for n := from; n <= to; n++ {
			picked[n] = true
		}
	}
	without := strings.Split(o.without, ",")
	if !o.instrumented {
		without = append(without, "clock")
	}
	for _, f := range all {
		if (o.pick == "" || picked[f.number]) && !slices.Contains(without, f.kind.name) {
			chosen = append(chosen, f)
		}
	}
	if o.pick != "" && len(chosen) > 0 { // nothing happens before the first
		early := chosen[0].at - time.Second
		for i := range chosen {
			chosen[i].at -= early
		}
	}
	return chosen, nil
}

// stage is what a storm is played on.
type stage struct {
	opts    options
	lab     *lab.Lab
	swerve  *lab.Swerve
	server  *traffic.Server
	clients []client
	config  string // the configuration in calm
	owners  string // the table of the gateway's owner, as a script
	journal *journal
	// instrument is shared with the daemon; nil where that is not instrumented.
	instrument *instrument
	samples    []sample // of a soak
	truth      truth
	pauses     pauses
	// hand is held by who ends and starts the daemon.
	hand    sync.Mutex
	stormy  bool      // the storm has begun
	leaking time.Time // when a foreign packet was last seen
	// slots are held by faults, by name.
	slots map[string]*sync.Mutex
	// sabotage: nobody starts a daemon that ended by itself.
	sabotage bool
}

// niceness is what the unit gives the daemon.
var niceness = []string{"nice", "-n", "-10"}

// newStage builds the lab, with a daemon that does not run yet.
func newStage(o options, out io.Writer) (*stage, error) {
	l, err := lab.New(lab.Options{Seed: o.seed, Uplinks: o.uplinks})
	if err != nil {
		return nil, err
	}
	s := &stage{opts: o, lab: l, config: configOf(o), journal: newJournal(out), slots: map[string]*sync.Mutex{}}
	prefix := niceness
	if o.instrumented {
		prefix = slices.Concat(prefix, []string{"env", instrumentEnv + "={dir}/instrument"})
	}
	s.swerve, err = l.NewSwerve(lab.Setup{Binary: o.binary, Prefix: prefix, Config: s.config})
	if err == nil && o.instrumented {
		s.instrument, err = newInstrument(s.swerve.File("instrument"))
	}
	if err == nil {
		s.server, err = traffic.Serve(l.Internet, servers[:]...)
	}
	if err == nil {
		s.owners, err = l.Gateway.Run("nft", "list", "ruleset")
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// configOf returns the configuration in calm.
func configOf(o options) string {
	text := lab.TwoUplinks
	for i := 2; i < o.uplinks; i++ {
		text += fmt.Sprintf("  - {name: %s, interface: wan%d}\n", uplinkNames[i], i)
	}
	if o.defaults {
		return text
	}
	return text + quick
}

func (s *stage) close() {
	for _, c := range s.clients {
		c.Stop()
	}
	if s.server != nil {
		s.server.Close()
	}
	if s.opts.daemonLog != "" && s.swerve != nil {
		if err := os.WriteFile(s.opts.daemonLog, []byte(s.swerve.Log()), 0o644); err != nil {
			s.journal.note("%v", err)
		}
	}
	s.lab.Close()
}

// play plays the run from its start to its end.
func (s *stage) play(ctx context.Context, faults []fault) error {
	pristine, was, err := s.prepare(ctx)
	if err != nil {
		return err
	}
	watching, cancel := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() { s.watch(watching) })
	watcher.Go(func() { s.explainStuck(watching) })
	if s.opts.soak {
		watcher.Go(func() { s.sample(watching) })
	}
	s.stormy = true
	from := s.journal.begin()
	errs := s.storm(ctx, faults)
	s.journal.note("the storm is over")
	errs = append(errs, s.afterwards(ctx, was), s.keepProfiles(s.opts.profiles))
	to := time.Now()
	for _, c := range s.clients {
		c.Stop()
	}
	felt, obliged := s.judge(interval{from, to})
	cancel()
	watcher.Wait()
	errs = append(errs, s.ending(was, pristine))
	s.readLog()
	s.journal.summary(s.truth.all(), felt, obliged)
	s.judgeSamples(from)
	if n := s.journal.failed(); n > 0 {
		errs = append(errs, fmt.Errorf("%d things broke; the same again: make chaos CHAOSFLAGS=%q", n, s.opts.flags()))
	}
	return errors.Join(errs...)
}

// prepare starts everything, and returns what there was before the first start, and
// what there is in calm.
func (s *stage) prepare(ctx context.Context) (pristine string, was baseline, err error) {
	for i := range s.lab.Uplinks { // a link that comes back has its routes in another order
		f, err := s.lab.Fault(i, "carrier")
		if err == nil {
			err = f.Undo()
		}
		if err != nil {
			return "", was, err
		}
	}
	if err := wait.Sleep(ctx, 500*ms); err != nil {
		return "", was, err
	}
	if pristine, err = s.everything(); err != nil {
		return "", was, err
	}
	if err = s.start(); err == nil {
		err = s.awaitCalm(ctx)
	}
	if err != nil {
		return "", was, err
	}
	if _, err = s.measure(); err != nil { // and the probes of the start are over
		return "", was, err
	}
	n, err := s.goroutines()
	if err == nil {
		err = s.startClients()
	}
	if err == nil {
		err = s.awaitCalm(ctx)
	}
	if err != nil {
		return "", was, err
	}
	was, err = s.measure()
	was.goroutines = n
	return pristine, was, err
}

// storm plays the faults, each in a goroutine of its own, and returns when all are
// mended.
func (s *stage) storm(ctx context.Context, faults []fault) (errs []error) {
	var tasks sync.WaitGroup
	var mu sync.Mutex
	for _, f := range faults {
		if wait.Sleep(ctx, time.Until(s.journal.zero.Add(f.at))) != nil {
			errs = append(errs, context.Cause(ctx))
			break
		}
		var held []*sync.Mutex
		for _, slot := range f.slotsOf() {
			if s.slots[slot] == nil {
				s.slots[slot] = new(sync.Mutex)
			}
			held = append(held, s.slots[slot])
		}
		tasks.Go(func() {
			if err := s.playFault(ctx, f, held); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("#%d %s: %w", f.number, f, err))
				s.journal.note("#%d cannot be played: %v", f.number, err)
			}
		})
	}
	if s.opts.pick == "" {
		_ = wait.Sleep(ctx, time.Until(s.journal.zero.Add(s.opts.lasts)))
	}
	tasks.Wait()
	return errs
}

// playFault plays one fault from its beginning to its end.
func (s *stage) playFault(ctx context.Context, f fault, slots []*sync.Mutex) error {
	for _, slot := range slots {
		slot.Lock()
		defer slot.Unlock()
	}
	n := s.truth.began(f)
	s.journal.note("#%d %s", f.number, f)
	mend, err := f.kind.begin(s, f)
	s.truth.begun(n)
	s.slow(f, "begin", time.Since(s.truth.all()[n].from))
	if err == nil {
		_ = wait.Sleep(ctx, f.lasts)
	}
	if mend != nil {
		s.truth.mending(n)
		before := time.Now()
		err = errors.Join(err, mend())
		s.slow(f, "mend", time.Since(before))
	}
	s.truth.ended(n)
	if f.lasts > 0 {
		s.journal.note("#%d mended", f.number)
	}
	return err
}

// slow notes that it took long to begin or mend a fault: the machine or its kernel is
// busy.
func (s *stage) slow(f fault, what string, took time.Duration) {
	if took > 500*ms {
		s.journal.note("#%d took %v to %s", f.number, took.Round(ms), what)
	}
}

// readLog looks for what a daemon must not write. Want of memory, which a fault made,
// is a fatal error of the runtime's.
func (s *stage) readLog() {
	s.journal.checked("the daemon's log", 1)
	log := s.swerve.Log()
	for _, bad := range []string{"DATA RACE", "panic:"} {
		if at := strings.Index(log, bad); at >= 0 {
			s.broken("the daemon's log has %q:\n%s", bad, log[at:min(len(log), at+4000)])
		}
	}
}
