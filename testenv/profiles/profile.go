package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"swerve/testenv/simulator"
)

// The uplinks of every world: the link that is judged, and another one.
const primary, backup = "first", "second"

// profile is a real link.
type profile struct {
	// name in the table, and what is played.
	name, what string
	// device names its interface: the default configuration takes wwan0 for metered. keys
	// are further ones of its configuration; the default where they are empty.
	device, keys string
	// write writes what happens on it.
	write func(*writer)
	// promotion is how long a metered standby takes for a channel; 0 for 700 ms.
	promotion time.Duration
	// most bounds what the engine may make of it, in a short run as in a long one.
	most bounds
}

// bounds are generous: they are for regressions, not aims.
type bounds struct {
	// shuns, downs and degradeds a day, and the share of new flows elsewhere without need,
	// in millionths: of the worse of quiet and used.
	shuns, downs, degradeds, needless float64
	// left is how soon a true outage is left at worst, quiet or used; 0 where the link
	// hardly ever carries.
	left time.Duration
}

// writer collects the lines of a script.
type writer struct {
	rand   *rand.Rand
	length time.Duration
	lines  []simulator.Line
}

func (w *writer) at(at time.Duration, format string, args ...any) {
	if at < w.length {
		w.lines = append(w.lines, simulator.Line{At: at, Text: primary + " " + fmt.Sprintf(format, args...)})
	}
}

// steady is a write function of what holds from start to end.
func steady(words string) func(*writer) { return func(w *writer) { w.at(0, "%s", words) } }

// between draws a time, uniform from a to b.
func (w *writer) between(a, b time.Duration) time.Duration {
	return (a + time.Duration(w.rand.Float64()*float64(b-a))).Truncate(time.Microsecond)
}

// exp draws a time, exponential with a mean.
func (w *writer) exp(mean time.Duration) time.Duration {
	return time.Duration(w.rand.ExpFloat64() * float64(mean)).Truncate(time.Microsecond)
}

// turns writes one thing and another in turns, for exponential times.
func (w *writer) turns(one, another string, oneFor, anotherFor time.Duration) {
	for at := time.Duration(0); at < w.length; {
		w.at(at, "%s", one)
		at += w.exp(oneFor)
		w.at(at, "%s", another)
		at += w.exp(anotherFor)
	}
}

const (
	ms = time.Millisecond
	// usualPromotion is that of LTE, slowPromotion that of 3G, or of LTE far from a mast.
	usualPromotion, slowPromotion = 700 * ms, 1800 * ms

	fibre = "rtt=8ms jitter=1ms loss=0.0001"
	geo   = "rtt=600ms jitter=20ms loss=0.003"
)

// profiles are the links of the table. Sources of the figures: what operators of such
// links measure, rounded to the worse side.
var profiles = []profile{
	{
		name: "fibre", what: "8 ms, one in 10⁴ lost", device: "eth0",
		write: steady(fibre), most: bounds{5, 0, 0, 50, 300 * ms},
	},
	{
		name: "fibre, slow modem", what: "the same, beside a metered standby that takes 1.8 s for a channel instead of 0.7 s", device: "eth0",
		write: steady(fibre), promotion: slowPromotion, most: bounds{5, 0, 0, 50, 300 * ms},
	},
	{
		name: "cable under load", what: "15 ms, jitter 8 ms, 0.1 % lost; half of the time the user's own streams fill a queue of 250 ms", device: "eth0",
		write: func(w *writer) {
			w.at(0, "rtt=15ms jitter=8ms loss=0.001")
			w.turns("queue=0s", "queue=250ms", 10*time.Minute, 10*time.Minute)
		},
		most: bounds{150, 0, 0, 500, 1000 * ms},
	},
	{
		name: "VDSL, uploads", what: "25 ms; for 2 of 12 minutes an upload fills a queue of 1 s", device: "eth0",
		write: func(w *writer) {
			w.at(0, "rtt=25ms jitter=2ms loss=0.0005")
			w.turns("queue=0s", "queue=1s", 10*time.Minute, 2*time.Minute)
		},
		most: bounds{250, 5, 250, 5e5, 2000 * ms},
	},
	{name: "LTE", what: "45 ms, jitter 20 ms, 0.1 % lost; 10 stalls an hour of 0.2–1.5 s, half of them lose all and half hold it back; 0.7 s for a channel after 2 s of rest", device: "wwan0", write: mobile(usualPromotion), most: bounds{500, 60, 10, 15000, 1500 * ms}},
	{name: "LTE, slow promotion", what: "the same, 1.8 s for a channel", device: "wwan0", write: mobile(slowPromotion), most: bounds{500, 60, 10, 15000, 1500 * ms}},
	{name: "Starlink", what: "slots of 15 s: at nine of ten boundaries all is lost for 50–200 ms, at each the round trip is another, 25–60 ms; jitter 8 ms, 0.3 % lost", device: "eth0", write: starlink, most: bounds{4600, 0, 0, 3500, 500 * ms}},
	{name: "GEO", what: "600 ms, jitter 20 ms, 0.3 % lost: beyond the default limit of latency", device: "eth0", write: steady(geo), most: bounds{20, 0, 5, 1e7, 0}},
	{
		name: "GEO, as configured for it", what: "the same with `health: {latency: {degraded: 1s, clear: 800ms}}`", device: "eth0",
		keys: "health: {latency: {degraded: 1s, clear: 800ms}}", write: steady(geo), most: bounds{20, 0, 0, 100, 2500 * ms},
	},
	{
		name: "Wi-Fi, power save", what: "20 ms, 0.5 % lost; for half of the time, 5 minutes each, answers wait for the next beacon, every 102 ms", device: "eth0",
		write: func(w *writer) {
			w.at(0, "rtt=20ms jitter=3ms loss=0.005")
			w.turns("beacon=0s", "beacon=102.4ms", 5*time.Minute, 5*time.Minute)
		},
		most: bounds{150, 0, 0, 500, 1000 * ms},
	},
	{
		name: "rerouted", what: "20 ms, and 400 ms for half an hour of each two hours", device: "eth0",
		write: func(w *writer) {
			w.at(0, "jitter=2ms loss=0.0005")
			w.turns("rtt=20ms", "rtt=400ms", 90*time.Minute, 30*time.Minute)
		},
		most: bounds{60, 0, 5, 500, 1000 * ms},
	},
	{name: "limited targets", what: "each target answers once a second, two together; 1 % lost", device: "eth0", write: steady("limited=1s loss=0.01"), most: bounds{50, 5, 5, 500, 10 * time.Second}},
	{name: "60 % loss", what: "of round trips, independent", device: "eth0", write: steady("loss=0.6"), most: bounds{4000, 200, 200, 1000, 0}},
	{name: "5 % loss", what: "of round trips, independent", device: "eth0", write: steady("loss=0.05"), most: bounds{0, 0, 0, 0, 300 * ms}},
	{name: "stalls", what: "0.1 % lost, in stalls of 200 ms", device: "eth0", write: steady("stalls every=199.8s for=200ms"), most: bounds{700, 0, 0, 10000, 400 * ms}},
}

// mobile is a link by LTE.
func mobile(promotion time.Duration) func(*writer) {
	return func(w *writer) {
		w.at(0, "rtt=45ms jitter=20ms loss=0.001 promotion=%v", promotion)
		for at := w.exp(6 * time.Minute); at < w.length; at += w.exp(6 * time.Minute) {
			what := "lost"
			if w.rand.IntN(2) == 0 {
				what = "hold"
			}
			w.at(at, "%s=%v", what, w.between(200*ms, 1500*ms))
		}
	}
}

// starlink is a link to satellites that are assigned anew every 15 s.
func starlink(w *writer) {
	w.at(0, "jitter=8ms loss=0.003")
	for at := time.Duration(0); at < w.length; at += 15 * time.Second {
		w.at(at, "rtt=%v", w.between(25*ms, 60*ms))
		if lost := w.between(50*ms, 200*ms); w.rand.Float64() < 0.9 {
			w.at(at, "lost=%v", lost)
		}
	}
}
