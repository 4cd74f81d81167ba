package simulator

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// TwoUplinks is the smallest complete configuration: everything else is a default.
const TwoUplinks = `uplinks:
  - {name: fiber, interface: eth0}
  - {name: lte, interface: wwan0, metered: false}
`

// Life describes a random script.
type Life struct {
	// Config is the configuration file; its uplinks are named by Uplinks.
	Config  string
	Uplinks []string
	// Targets are those that may fail alone.
	Targets []string
	Seed    uint64
	Length  time.Duration
	// Rough scales the rate of faults: at 1 an uplink is dead about once a month, at
	// 1000 every three quarters of an hour.
	Rough float64
	// Whole adds what is no fault of the network: flows that use the uplinks, requests
	// of the operator, restarts, and other configurations.
	Whole bool
}

// fault is one kind of trouble: how often it occurs at Rough 1, how long it lasts on
// average, and the lines it writes.
type fault struct {
	every, mean time.Duration
	write       func(l *writer, who string, from, to time.Duration)
}

const day = 24 * time.Hour

// faults occur on each uplink independently.
var faults = []fault{
	{30 * day, 5 * time.Minute, (*writer).dead},
	{30 * day, 5 * time.Minute, (*writer).familyDead},
	{3 * day, time.Second, (*writer).dead},
	{20 * day, 2 * time.Minute, (*writer).carrier},
	{60 * day, 20 * time.Second, (*writer).flaps},
	{7 * day, 10 * time.Minute, (*writer).lossy},
	{7 * day, 20 * time.Minute, (*writer).slow},
	{60 * day, time.Minute, (*writer).address},
	{60 * day, time.Minute, (*writer).gone},
	{30 * day, time.Second, (*writer).mute},
	{5 * day, time.Hour, (*writer).stalls},
	{5 * day, time.Hour, (*writer).bursts},
}

// common are faults of all uplinks at once, of the targets, or of this machine.
var common = []fault{
	{60 * day, time.Minute, (*writer).allDead},
	{15 * day, time.Hour, (*writer).target},
	{15 * day, time.Second, (*writer).pause},
}

// usage is what also occurs on each uplink in a whole life, events on all at once.
var (
	usage = []fault{
		{3 * day, 20 * time.Second, (*writer).flows},
		{30 * day, time.Second, (*writer).unresolved},
		{60 * day, time.Minute, (*writer).gateway},
		{60 * day, time.Minute, (*writer).switchedOff},
		{15 * day, time.Second, (*writer).held},
		{20 * day, 5 * time.Minute, (*writer).drain},
		{20 * day, 5 * time.Minute, (*writer).switchTo},
	}
	events = []fault{
		{15 * day, 3 * time.Second, (*writer).restart},
		{20 * day, 3 * time.Minute, (*writer).reconfigure},
		{30 * day, time.Second, (*writer).resume},
	}
)

// writer collects a script's lines.
type writer struct {
	life  Life
	rand  *rand.Rand
	lines []Line
}

// Script writes a life's script. Equal lives give equal scripts.
func (l Life) Script() Script {
	w := &writer{life: l, rand: rand.New(rand.NewPCG(l.Seed, 7))}
	for _, who := range l.Uplinks {
		w.quality(who)
		for _, f := range faults {
			w.occur(f, who)
		}
	}
	for _, f := range common {
		w.occur(f, "all")
	}
	if l.Whole {
		w.rand = rand.New(rand.NewPCG(l.Seed, 9))
		for _, who := range l.Uplinks {
			for _, f := range usage {
				w.occur(f, who)
			}
		}
		for _, f := range events {
			w.occur(f, "all")
		}
	}
	slices.SortStableFunc(w.lines, func(a, b Line) int { return int(min(1, max(-1, a.At-b.At))) })
	return Script{Config: l.Config, Seed: l.Seed, Lines: w.lines, End: l.Length}
}

// occur writes the occurrences of one kind of fault over the whole life.
func (w *writer) occur(f fault, who string) {
	every := float64(f.every) / max(w.life.Rough, 1e-9)
	for at := w.exp(every); at < w.life.Length; {
		to := at + max(time.Millisecond, w.exp(float64(f.mean)))
		f.write(w, who, at, to)
		at = to + w.exp(every)
	}
}

func (w *writer) exp(mean float64) time.Duration {
	return time.Duration(min(w.rand.ExpFloat64()*mean, float64(1<<60))).Truncate(time.Microsecond)
}

func (w *writer) line(at time.Duration, format string, args ...any) {
	if at < w.life.Length {
		w.lines = append(w.lines, Line{At: at, Text: fmt.Sprintf(format, args...)})
	}
}

func (w *writer) ms(least, most int) time.Duration {
	return time.Duration(least+w.rand.IntN(most-least)) * time.Millisecond
}

// quality writes what an uplink is like without faults.
func (w *writer) quality(who string) {
	w.line(0, "%s rtt=%v jitter=%v loss=%.3f", who, w.ms(4, 60), w.ms(0, 12), 0.02*w.rand.Float64())
}

func (w *writer) dead(who string, from, to time.Duration) {
	w.line(from, "%s dead", who)
	w.line(to, "%s alive", who)
}

func (w *writer) familyDead(who string, from, to time.Duration) {
	f := []string{"ipv4", "ipv6"}[w.rand.IntN(2)]
	w.dead(who+" "+f, from, to)
}

func (w *writer) carrier(who string, from, to time.Duration) {
	w.line(from, "%s carrier=off report=%v", who, w.ms(0, 900))
	w.line(to, "%s carrier=on report=%v", who, w.ms(0, 50))
}

func (w *writer) flaps(who string, from, to time.Duration) {
	for at := from; at < to; at += w.ms(200, 4000) {
		w.carrier(who, at, at+w.ms(50, 2000))
	}
}

func (w *writer) lossy(who string, from, to time.Duration) {
	w.line(from, "%s loss=%.2f", who, 0.1+0.85*w.rand.Float64())
	w.line(to, "%s loss=0.01", who)
}

func (w *writer) slow(who string, from, to time.Duration) {
	w.line(from, "%s rtt=%v jitter=%v", who, w.ms(80, 900), w.ms(1, 100))
	w.line(to, "%s rtt=%v jitter=%v", who, w.ms(4, 60), w.ms(0, 12))
}

func (w *writer) address(who string, from, to time.Duration) {
	f := []string{"", " ipv4", " ipv6"}[w.rand.IntN(3)]
	w.line(from, "%s%s address=off", who, f)
	w.line(to, "%s%s address=on", who, f)
}

func (w *writer) gone(who string, from, to time.Duration) {
	w.line(from, "%s interface=off", who)
	w.line(to, "%s interface=on", who)
}

func (w *writer) mute(who string, from, to time.Duration) {
	w.line(from, "%s send=off", who)
	w.line(to, "%s send=on", who)
}

func (w *writer) stalls(who string, from, to time.Duration) {
	hold := []string{"", " hold"}[w.rand.IntN(2)]
	w.line(from, "%s stalls every=%v for=%v%s", who, w.ms(5000, 200_000), w.ms(50, 900), hold)
	w.line(to, "%s stalls every=0s", who)
}

func (w *writer) bursts(who string, from, to time.Duration) {
	w.line(from, "%s bursts every=%v for=%v loss=%.2f", who, w.ms(3000, 60_000), w.ms(100, 5000), 0.2+0.8*w.rand.Float64())
	w.line(to, "%s bursts every=0s", who)
}

// allDead is a common cause: all uplinks fail together and recover one after another.
func (w *writer) allDead(_ string, from, to time.Duration) {
	w.line(from, "all dead")
	for _, who := range w.life.Uplinks {
		w.line(to+w.ms(0, 2000), "%s alive", who)
	}
}

func (w *writer) target(_ string, from, to time.Duration) {
	if n := len(w.life.Targets); n > 0 {
		w.dead("target "+w.life.Targets[w.rand.IntN(n)], from, to)
	}
}

func (w *writer) pause(_ string, from, to time.Duration) { w.line(from, "pause %v", to-from) }

func (w *writer) flows(who string, from, to time.Duration) {
	f := []string{"", " ipv4", " ipv6"}[w.rand.IntN(3)]
	w.line(from, "%s%s flows=%v", who, f, w.ms(30, 300))
	w.line(to, "%s%s flows=off", who, f)
}

func (w *writer) unresolved(who string, from, _ time.Duration) {
	w.line(from, "%s %s unresolved", who, []string{"ipv4", "ipv6"}[w.rand.IntN(2)])
}

func (w *writer) gateway(who string, from, to time.Duration) {
	w.line(from, "%s gateway=%s", who, []string{"203.0.113.253", "fe80::253", "off"}[w.rand.IntN(3)])
	w.line(to, "%s gateway=on", who)
}

func (w *writer) switchedOff(who string, from, to time.Duration) {
	w.line(from, "%s admin=off carrier=off", who)
	w.line(to, "%s admin=on carrier=on", who)
}

func (w *writer) held(who string, from, to time.Duration) {
	w.line(from, "%s hold=%v", who, min(to-from, 3*time.Second))
}

func (w *writer) drain(who string, from, to time.Duration)    { w.ask("drain", who, from, to) }
func (w *writer) switchTo(who string, from, to time.Duration) { w.ask("switch", who, from, to) }

// ask writes a request of the operator's: with an end, until it is withdrawn, or
// without an end.
func (w *writer) ask(verb, who string, from, to time.Duration) {
	switch w.rand.IntN(5) {
	case 0:
		w.line(from, "%s %s", verb, who)
	case 1, 2:
		w.line(from, "%s %s", verb, who)
		w.line(to, "resume %s", who)
	case 3, 4:
		w.line(from, "%s %s for=%v", verb, who, to-from)
	}
}

func (w *writer) resume(_ string, from, _ time.Duration) { w.line(from, "resume") }

// restart stops the daemon or kills it, idle or in the middle of its changes.
func (w *writer) restart(_ string, from, to time.Duration) {
	if w.rand.IntN(2) == 0 {
		w.line(from, "restart for=%v", to-from)
		return
	}
	w.line(from, "restart for=%v kill=%d", to-from, w.rand.IntN(6))
}

// reconfigure removes an uplink from the configuration for a time, or disables it, or
// makes failback manual.
func (w *writer) reconfigure(_ string, from, to time.Duration) {
	who := w.life.Uplinks[w.rand.IntN(len(w.life.Uplinks))]
	text, err := "", error(nil)
	switch w.rand.IntN(4) {
	case 0, 1:
		text, err = without(w.life.Config, who)
	case 2:
		text, err = disabled(w.life.Config, who)
	case 3:
		text = `{"failback":{"mode":"manual"}}`
	}
	if err != nil || text == "" {
		return
	}
	w.line(from, "configure %s", text)
	w.line(to, "configure {}")
}

// RandomLife is a whole life with a random configuration: two or three uplinks,
// policies that share or block, and random families, targets and failback settings.
func RandomLife(seed uint64, length time.Duration, rough float64) Life {
	r := rand.New(rand.NewPCG(seed, 10))
	chance := func(p float64, yes, no string) string {
		if r.Float64() < p {
			return yes
		}
		return no
	}
	names := []string{"fiber", "cable", "lte"}
	if r.IntN(2) == 0 {
		names = []string{"fiber", "lte"}
	}
	var b strings.Builder
	b.WriteString("uplinks:\n")
	ipv6 := chance(0.3, ", ipv6: false", "")
	for i, name := range names {
		metered := ", metered: false"
		if name == "lte" {
			metered = chance(0.4, ", metered: true", metered)
		}
		fmt.Fprintf(&b, "  - {name: %s, interface: eth%d%s%s}\n", name, i, ipv6, metered)
	}
	// With one target and the usual 30 s a metered uplink on standby has too few
	// samples in its window to measure loss, and so stays degraded forever.
	probe := chance(0.2, "probe: {targets: [1.1.1.1, '2606:4700:4700::1111'], standby_interval: 15s}\n",
		chance(0.1, "probe: {targets: []}\n", chance(0.2, "probe: {quorum: 2}\n", "")))
	b.WriteString(probe)
	var targets []string // that may fail
	if !strings.Contains(probe, "[]") {
		targets = []string{"1.1.1.1"}
		if ipv6 == "" {
			targets = append(targets, "2606:4700:4700::1111")
		}
	}
	fmt.Fprintf(&b, "health: {%sdamping: {half_life: 1m}}\n", chance(0.3, "window: 15s, ", ""))
	fmt.Fprintf(&b, "failback: {mode: %s, after: %s}\n", chance(0.2, "manual", "auto"), chance(0.5, "5s", "30s"))
	fmt.Fprintf(&b, "sessions: {on_down: %s, on_degraded: %s, on_failback: %s}\n", chance(0.2, "keep", "move"), chance(0.2, "move", "keep"),
		[]string{"auto", "keep", "move", "drain 90s"}[seed%4])
	tiers := strings.Join(names, ", ")
	if len(names) == 3 {
		tiers = chance(0.3, "{fiber: 3, cable: 1}, lte", tiers)
	}
	fmt.Fprintf(&b, "policies:\n  - {name: default, tiers: [%s]}\n", tiers)
	if guests := chance(0.4, "guests", ""); guests != "" {
		fmt.Fprintf(&b, "  - {name: guests, tiers: [lte]%s}\n", chance(0.5, ", last_resort: block", ""))
		b.WriteString("rules:\n  - {from: 192.168.20.0/24, use: guests}\n")
	}
	return Life{
		Config: b.String(), Uplinks: names, Targets: targets,
		Seed: seed, Length: length, Rough: rough, Whole: true,
	}
}

// Steady is a script in which each hardship lasts from the start to the end; each is
// the words that follow an uplink's name, such as "loss=0.05".
func Steady(cfg string, uplinks []string, seed uint64, length time.Duration, hardships ...string) Script {
	s := Script{Config: cfg, Seed: seed, End: length}
	for _, who := range uplinks {
		for _, h := range hardships {
			s.Lines = append(s.Lines, Line{Text: strings.TrimSpace(who + " " + h)})
		}
	}
	return s
}

// BlackHoles is a script in which an uplink falls silent beyond its gateway at
// random instants, for 7 to 60 s: too long to be learnt as patience, and rare enough
// for damping to let the uplink return.
func BlackHoles(cfg, who string, seed uint64, length time.Duration) Script {
	w := &writer{life: Life{Length: length}, rand: rand.New(rand.NewPCG(seed, 8))}
	for at := w.exp(float64(time.Minute)) + time.Minute; at < length; {
		to := at + w.ms(7_000, 60_000)
		w.dead(who, at, to)
		at = to + 12*time.Minute + w.exp(float64(3*time.Minute))
	}
	return Script{Config: cfg, Seed: seed, Lines: w.lines, End: length}
}
