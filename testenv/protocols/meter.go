package main

import (
	"math"
	"slices"
	"sync"
	"time"
)

// track is one kind of packet of a session in one direction, whose flow is watched.
// Whatever it keeps is bounded: more than maxPackets are not recorded.
type track struct {
	interval time.Duration // the usual time between two packets

	// idle: nothing is sent until something is asked; that and its answer is all.
	idle bool

	mu      sync.Mutex
	asked   time.Time // of an idle one, after the event
	packets []packet
	hearing []time.Time // instants at which something arrived, at least hearingApart apart
}

// packet is a numbered packet, or a request with its answer.
type packet struct {
	sent    time.Time
	arrived bool
}

const (
	maxPackets   = 1 << 16
	hearingApart = 5 * time.Millisecond
)

// sent records that the next packet leaves now, and returns its number.
func (t *track) sent() (seq uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.packets) < maxPackets {
		t.packets = append(t.packets, packet{sent: time.Now()})
	}
	return uint32(len(t.packets) - 1)
}

// arrived records that a packet has arrived, or a request was answered.
func (t *track) arrived(seq uint32) {
	t.heard()
	t.mu.Lock()
	defer t.mu.Unlock()
	if int64(seq) < int64(len(t.packets)) {
		t.packets[seq].arrived = true
	}
}

// heard records that something has arrived.
func (t *track) heard() {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.hearing); n > 0 && now.Sub(t.hearing[n-1]) < hearingApart || n >= maxPackets {
		return
	}
	t.hearing = append(t.hearing, now)
}

// ask records that the one thing is asked now for which an idle track is there.
func (t *track) ask() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked = time.Now()
}

// answered returns the first arrival after the question of an idle track. The caller
// holds mu.
func (t *track) answered() (at time.Time, ok bool) {
	for _, at := range t.hearing {
		if !t.asked.IsZero() && at.After(t.asked) {
			return at, true
		}
	}
	return at, false
}

// lively is how many intervals ago a track that flows was heard last, at most.
const lively = 5

// flows reports whether something has arrived lately.
func (t *track) flows() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.idle {
		return len(t.hearing) > 0
	}
	return len(t.hearing) > 1 && t.quietAt(time.Now()) < lively*t.interval
}

// quiet returns for how long nothing has arrived.
func (t *track) quiet() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.quietAt(time.Now())
}

// quietAt returns for how long nothing had arrived at an instant. The caller holds mu.
func (t *track) quietAt(now time.Time) time.Duration {
	for _, at := range slices.Backward(t.hearing) {
		if !at.After(now) {
			return now.Sub(at)
		}
	}
	return math.MaxInt64
}

// answerTime is how long after its sending a packet that has not arrived counts as lost.
const answerTime = 1500 * time.Millisecond

// count returns how many packets were sent in a span of time, and how many of these
// have not arrived.
func (t *track) count(from, to time.Time) (sent, lost int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.packets {
		if p.sent.Before(from) || p.sent.After(to) {
			continue
		}
		sent++
		if !p.arrived {
			lost++
		}
	}
	return sent, lost
}

// silence returns the longest time between two arrivals, of those that overlap a span.
// Where nothing came before its end, it reaches to the end. That of an idle track is from
// the question to the answer.
func (t *track) silence(from, to time.Time) (longest time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.idle {
		if at, ok := t.answered(); ok && at.Before(to) {
			to = at
		}
		if t.asked.After(from) {
			from = t.asked
		}
		return to.Sub(from)
	}
	last := from
	for _, at := range t.hearing {
		if at.After(to) {
			break
		}
		if at.After(from) {
			longest = max(longest, at.Sub(last))
		}
		last = at
	}
	return max(longest, to.Sub(last))
}

// backAt reports whether something had arrived shortly before an instant.
func (t *track) backAt(end time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.idle {
		at, ok := t.answered()
		return ok && !at.After(end)
	}
	return t.quietAt(end) < max(backWithin, lively*t.interval)
}

// meter counts what becomes of a session: of one protocol in one family.
type meter struct {
	mu     sync.Mutex
	tracks []*track
	opened []time.Time // connections
	breaks []brokenAt  // ends of connections
	moves  []time.Time // of a client's own to another path
}

// brokenAt is the end of a connection.
type brokenAt struct {
	at  time.Time
	err string
}

const maxBreaks = 1024 // further ones are not recorded

// track adds a track, whose packets usually come at an interval.
func (m *meter) track(interval time.Duration) *track {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &track{interval: interval}
	m.tracks = append(m.tracks, t)
	return t
}

// connected records that a connection was established.
func (m *meter) connected() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.opened) < maxBreaks {
		m.opened = append(m.opened, time.Now())
	}
}

// broke records that a connection has ended by itself.
func (m *meter) broke(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.breaks) < maxBreaks {
		m.breaks = append(m.breaks, brokenAt{time.Now(), err.Error()})
	}
}

// migrated records that a client had its connection go on by another path.
func (m *meter) migrated() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.moves) < maxBreaks {
		m.moves = append(m.moves, time.Now())
	}
}

// flows reports whether every track flows.
func (m *meter) flows() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.tracks) > 0 && !slices.ContainsFunc(m.tracks, func(t *track) bool { return !t.flows() })
}

// outcome says what became of a session after an onset.
func (m *meter) outcome(onset, end time.Time) Outcome {
	m.mu.Lock()
	defer m.mu.Unlock()
	var o Outcome
	for _, t := range m.tracks {
		sent, lost := t.count(onset, end.Add(-answerTime))
		o.Sent, o.Lost = o.Sent+sent, o.Lost+lost
		o.Silence = max(o.Silence, seconds(t.silence(onset, end)))
	}
	for _, b := range m.breaks {
		if b.at.Before(onset) || b.at.After(end) {
			continue
		}
		if o.Broken++; o.Broken == 1 {
			after := seconds(b.at.Sub(onset))
			o.BrokenAfter, o.Error = &after, b.err
		}
	}
	o.Reconnects, o.Migrations = within(m.opened, onset, end), within(m.moves, onset, end)
	o.Back = m.allBackAt(end)
	return o
}

// backAt reports whether something of every track had arrived shortly before an instant.
func (m *meter) backAt(end time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.allBackAt(end)
}

// allBackAt is backAt for a caller that holds mu.
func (m *meter) allBackAt(end time.Time) bool {
	return !slices.ContainsFunc(m.tracks, func(t *track) bool { return !t.backAt(end) })
}

// within counts the instants in a span.
func within(all []time.Time, from, to time.Time) (n int) {
	for _, at := range all {
		if at.After(from) && !at.After(to) {
			n++
		}
	}
	return n
}

// backWithin is the time before the end in which something has to arrive of a session
// that is back.
const backWithin = 2 * time.Second

// Outcome is what became of a session of one protocol in one family.
type Outcome struct {
	Protocol string `json:"protocol"`
	Family   string `json:"family"`
	// Sent and Lost count packets, or requests; both are 0 where they have no numbers.
	Sent int `json:"sent"`
	Lost int `json:"lost"`
	// Broken counts connections that ended by themselves, Reconnects those that were
	// made afterwards.
	Broken     int `json:"broken"`
	Reconnects int `json:"reconnects"`
	// Migrations counts how often the client had its connection go on by another path.
	Migrations int `json:"migrations,omitempty"`
	// BrokenAfter is how long after the onset the first of them ended, in seconds; Error
	// is what the client was told.
	BrokenAfter *float64 `json:"broken_after_s,omitempty"`
	Error       string   `json:"error,omitempty"`
	// Silence is the longest time in which nothing arrived, in seconds.
	Silence float64 `json:"silence_s"`
	// Back: something arrived shortly before the end.
	Back bool `json:"back"`
}

// seconds rounds to milliseconds.
func seconds(d time.Duration) float64 {
	return float64(d.Round(time.Millisecond).Milliseconds()) / 1000
}
