package tui

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"swerve/control"
)

// quietModel returns a model whose commands the test does not run.
func quietModel(t *testing.T, s size) *model {
	t.Helper()
	back := newBackend(context.Background(), "/nowhere")
	t.Cleanup(back.close)
	m := newModel(back, looks(), "/nowhere", noon)
	m.size = s
	return m
}

// known returns a model that shows a snapshot.
func known(t *testing.T, snap *Snapshot, s size) *model {
	m := quietModel(t, s)
	m.snap, m.journal.entries = snap, snap.events
	return m
}

func keyOf(name string) tea.KeyMsg {
	special := map[string]tea.KeyType{"tab": tea.KeyTab, "shift+tab": tea.KeyShiftTab, "up": tea.KeyUp, "down": tea.KeyDown,
		"pgup": tea.KeyPgUp, "pgdown": tea.KeyPgDown, "home": tea.KeyHome, "end": tea.KeyEnd, "esc": tea.KeyEsc,
		"ctrl+c": tea.KeyCtrlC, "ctrl+z": tea.KeyCtrlZ, " ": tea.KeySpace}
	if k, ok := special[name]; ok {
		return tea.KeyMsg{Type: k, Runes: map[bool][]rune{true: {' '}}[k == tea.KeySpace]}
	}
	return tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(name)}
}

// press types keys, separated by spaces.
func press(m *model, keys string) (last tea.Cmd) {
	for _, k := range strings.Fields(keys) {
		_, last = m.Update(keyOf(k))
	}
	return last
}

func TestKeysThatQuit(t *testing.T) {
	for _, keys := range []string{"q", "ctrl+c", "? q", "? ctrl+c", "p q", "tab q"} {
		m := known(t, allUp(), sizes[0])
		cmd := press(m, keys)
		if cmd == nil {
			t.Errorf("%s: no command", keys)
		} else if _, ok := cmd().(tea.QuitMsg); !ok {
			t.Errorf("%s: does not quit", keys)
		}
	}
	m := known(t, allUp(), sizes[0])
	if _, ok := press(m, "ctrl+z")().(tea.SuspendMsg); !ok {
		t.Error("ctrl+z does not suspend")
	}
}

// view is what a user can set on the overview.
type view struct {
	focus        part
	scroll       [maxParts]int
	span         int
	doubts, help bool
}

func viewOf(m *model) view {
	o := m.pages[0].(*overview)
	return view{o.focus, o.scroll, o.span, o.doubts, m.help}
}

func TestKeysThatChangeTheView(t *testing.T) {
	for _, c := range []struct {
		keys string
		want view
	}{
		{"", view{focus: eventsPart}},
		{"?", view{focus: eventsPart, help: true}},
		{"? ?", view{focus: eventsPart}}, {"? esc", view{focus: eventsPart}},
		{"? t p tab", view{focus: eventsPart, help: true}}, // no effect behind the help
		{"t", view{focus: eventsPart, span: 1}}, {"t t t", view{focus: eventsPart}},
		{"f", view{focus: eventsPart, doubts: true}}, {"f f", view{focus: eventsPart}},
		{"tab", view{focus: uplinksPart}}, {"tab tab", view{focus: problemsPart}}, {"tab tab tab", view{focus: policiesPart}},
		{"tab tab tab tab", view{focus: eventsPart}}, {"shift+tab", view{focus: policiesPart}},
		{"up up", view{focus: eventsPart, scroll: [maxParts]int{eventsPart: 2}}},
		{"up up down", view{focus: eventsPart, scroll: [maxParts]int{eventsPart: 1}}},
		{"down", view{focus: eventsPart}}, {"home end", view{focus: eventsPart}},
		{"k k j", view{focus: eventsPart, scroll: [maxParts]int{eventsPart: 1}}},
		{"g", view{focus: eventsPart, scroll: [maxParts]int{eventsPart: 62}}}, // of 63, two doubts aside
		{"pgup", view{focus: eventsPart, scroll: [maxParts]int{eventsPart: 1}}},
		{"tab down down", view{focus: uplinksPart, scroll: [maxParts]int{uplinksPart: 2}}},
		{"tab G", view{focus: uplinksPart, scroll: [maxParts]int{uplinksPart: 2}}},
		{"tab end up", view{focus: uplinksPart, scroll: [maxParts]int{uplinksPart: 1}}},
		{"tab pgdown pgup", view{focus: uplinksPart}}, {"tab up", view{focus: uplinksPart}},
		{"x z 1", view{focus: eventsPart}},
	} {
		m := known(t, crowd(), sizes[0])
		if press(m, c.keys); viewOf(m) != c.want {
			t.Errorf("%q: %+v, want %+v", c.keys, viewOf(m), c.want)
		}
	}
}

// Pasted text is not taken for keys.
func TestPasteIsNoKey(t *testing.T) {
	m := known(t, allUp(), sizes[0])
	if _, cmd := m.Update(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("q"), Paste: true}); cmd != nil || viewOf(m) != (view{focus: eventsPart}) {
		t.Errorf("%+v", viewOf(m))
	}
}

// notebook is a page that a test adds. It records the messages that it receives.
type notebook struct{ received []string }

func (n *notebook) title() string { return "notes" }
func (n *notebook) keys(*canvas) []action {
	return []action{{bind("w", "write", "w"), "w", "write a note"}}
}
func (n *notebook) legend(c *canvas) [][2]string { return [][2]string{{c.hook, "a note"}} }
func (n *notebook) body(c *canvas, snap *Snapshot) []line {
	return []line{{say(plain, fmt.Sprintf("notes on %d by %d about %s", c.width, c.height, snap.Status.Software))}}
}
func (n *notebook) update(msg tea.Msg, c *canvas, snap *Snapshot) tea.Cmd {
	n.received = append(n.received, fmt.Sprintf("%T", msg))
	return nil
}

// A page in the list of pages is complete: a key chooses it, the foot and the help show
// its keys, and it receives the messages for pages.
func TestSecondPage(t *testing.T) {
	m, notes := known(t, allUp(), sizes[0]), new(notebook)
	m.pages = append(m.pages, notes)
	shows := func(keys string, wanted ...string) {
		t.Helper()
		press(m, keys)
		wellFormed(t, keys, m.View(), sizes[0])
		for _, want := range wanted {
			if !strings.Contains(m.View(), want) {
				t.Errorf("after %q: no %q in\n%s", keys, want, m.View())
			}
		}
	}
	shows("w", "UPLINKS", "q quit   ? help   2 notes   p pause   ↑↓ scroll")
	shows("2", "notes on 80 by 22 about 1.0.0", "q quit   ? help   1 overview   p pause   w write", "● OK")
	shows("w t f tab", "notes on")
	shows("?", "w                 write a note", "1                 overview", "└                 a note", "? back")
	shows("1", "UPLINKS", "2 notes")
	if got, want := viewOf(m), (view{focus: eventsPart}); got != want {
		t.Errorf("keys of another page reach the overview: %+v", got)
	}
	m.stream = &stream{}
	m.Update(eventsMsg{from: m.stream, events: eventsOf(noon, 10, 11)})
	press(m, "p")
	m.Update(eventsMsg{from: m.stream, events: eventsOf(noon, 12, 13)})
	press(m, "p")
	type answer struct{}
	m.Update(answer{})
	want := "tea.KeyMsg tea.KeyMsg tea.KeyMsg tea.KeyMsg tui.arrivedMsg tui.resumedMsg tui.answer"
	if got := strings.Join(notes.received, " "); got != want {
		t.Errorf("the page received %s, want %s", got, want)
	}
	m.snap = noDaemon()
	shows("2", "NOT CONNECTED", "q quit   ? help   r try now")
}

// An uplink is said to be held while another one carries in its place, and not once it
// carries itself.
func TestHeldUplink(t *testing.T) {
	for carrying, want := range map[string]bool{"lte": true, "fiber": false} {
		snap := allUp()
		snap.Status.Uplinks[0].HeldUntil = before(-10 * time.Minute)
		snap.Status.Policies = []control.Policy{{Name: "default", IPv4: shares(carrying)}}
		if got := modelOf(looks(), snap, sizes[0]).View(); strings.Contains(got, "held until 13:10:00") != want {
			t.Errorf("%s carries, held is %t:\n%s", carrying, !want, got)
		}
	}
}

// The whole text and remedy of a problem can be read, also on a small screen: they unfold
// once the section is in focus, and can be scrolled through.
func TestProblemsUnfold(t *testing.T) {
	for _, s := range []size{{80, 24}, {60, 20}} {
		snap := carrierLost()
		snap.Status.Problems = []control.Problem{{Code: "uplink-held", Severity: control.Info, Object: "fiber",
			Text:   "first " + strings.Repeat("words of the text ", 20) + "text-ends",
			Remedy: strings.Repeat("words of the remedy ", 20) + "remedy-ends"}}
		m := modelOf(looks(), snap, s)
		seen := func() string { return m.View() }
		if got := seen(); strings.Contains(got, "text-ends") || strings.Contains(got, "remedy-ends") {
			t.Fatalf("they are not cut:\n%s", got)
		}
		for tries := 0; !strings.Contains(seen(), "PROBLEMS ↕"); tries++ {
			if tries > 5 {
				t.Fatalf("the section is never in focus:\n%s", seen())
			}
			press(m, "tab")
		}
		press(m, "g")
		var all string
		for range 40 {
			all += seen()
			press(m, "down")
		}
		for _, want := range []string{"first", "text-ends", "remedy-ends"} {
			if !strings.Contains(all, want) {
				t.Errorf("%v: %q cannot be read; at the end\n%s", s, want, seen())
			}
		}
		wellFormed(t, "unfolded", seen(), s)
	}
}

func TestScrolledPages(t *testing.T) {
	m := known(t, crowd(), sizes[0])
	press(m, "tab G shift+tab shift+tab down tab up up up")
	golden(t, "scrolled-80x24", m.View()+"\n")
	wellFormed(t, "scrolled", m.View(), sizes[0])
	for _, want := range []string{"provider-12 ", "3–12 of 12", "2–2 of 5", "60 of 63"} {
		if !strings.Contains(m.View(), want) {
			t.Errorf("no %q in\n%s", want, m.View())
		}
	}
	// On a terminal that has grown there is nothing left to scroll.
	m.Update(tea.WindowSizeMsg{Width: 120, Height: 40})
	if got := m.View(); !strings.Contains(got, "provider-01 ") || !strings.Contains(got, "provider-12 ") {
		t.Errorf("after growing:\n%s", got)
	}
	// Nor in a list that has become shorter.
	m.snap.Status.Policies = m.snap.Status.Policies[:1]
	if got := m.View(); !strings.Contains(got, "  default  IPv4") {
		t.Errorf("with one policy:\n%s", got)
	}
}

func TestPauseKeepsThePage(t *testing.T) {
	m := known(t, allUp(), sizes[0])
	m.now = noon
	press(m, "p")
	before := m.View()
	if !strings.Contains(before, "PAUSED 0s") {
		t.Errorf("not paused:\n%s", before)
	}
	worse := carrierLost().Status
	worse.Uplinks[1].IPv4.RTTMS = new(900.0)
	m.Update(statusMsg{status: worse, at: noon})
	m.stream = &stream{}
	m.Update(eventsMsg{from: m.stream, events: eventsOf(noon, 90, 95)})
	if m.View() != before {
		t.Errorf("the page moved:\n%s", m.View())
	}
	press(m, "p")
	if got := m.View(); !strings.Contains(got, "no carrier") || !strings.Contains(got, "12h-95") || strings.Contains(got, "PAUSED") {
		t.Errorf("after going on:\n%s", got)
	}
}

// New events do not move what the user has scrolled to.
func TestReadersPlaceIsKept(t *testing.T) {
	m := known(t, crowd(), sizes[0])
	m.stream = &stream{}
	press(m, "up up up")
	before := m.View()
	batch := append(eventsOf(noon, 900, 901), health(902, 0, "x", "ipv4", control.Up, control.Suspect, "", nil),
		health(903, 0, "x", "ipv4", control.Suspect, control.Up, "", nil))
	m.Update(eventsMsg{from: m.stream, events: batch})
	got, want := strings.Split(m.View(), "\n"), strings.Split(before, "\n")
	if got[21] != want[21] || got[22] != want[22] {
		t.Errorf("%q\nwant\n%q", got[21:23], want[21:23])
	}
	press(m, "G")
	if got := m.View(); !strings.Contains(got, "12h-901") {
		t.Errorf("the newest is not shown:\n%s", got)
	}
}

// gone is the outcome of a poll without a daemon, at d after noon.
func gone(d time.Duration) statusMsg { return statusMsg{err: goneError("gone"), at: noon.Add(d)} }

func TestRetriesAreBounded(t *testing.T) {
	m := quietModel(t, sizes[0])
	var waits []time.Duration
	at := time.Duration(0)
	for range 8 {
		m.Update(gone(at))
		wait := m.snap.Outage.Next.Sub(noon.Add(at))
		waits = append(waits, wait)
		at += wait
	}
	want := []time.Duration{1e9, 1e9, 2e9, 4e9, 5e9, 5e9, 5e9, 5e9}
	for i := range want {
		if waits[i] != want[i] {
			t.Fatalf("waits %v, want %v", waits, want)
		}
	}
	if m.snap.Outage.Tries != 8 || !m.snap.Outage.Since.Equal(noon) {
		t.Errorf("%+v", *m.snap.Outage)
	}
}

// due reports whether a tick at d after noon starts a poll.
func due(m *model, d time.Duration) bool {
	m.polling = false
	m.Update(tickMsg(noon.Add(d)))
	return m.polling
}

func TestPollsInTime(t *testing.T) {
	m := quietModel(t, sizes[0])
	m.polled = noon
	m.Update(statusMsg{status: allUp().Status, at: noon.Add(10 * time.Millisecond)})
	for _, c := range []struct {
		after time.Duration
		want  bool
	}{{500 * time.Millisecond, false}, {999 * time.Millisecond, true}, {1500 * time.Millisecond, false}, {2 * time.Second, true}} {
		if got := due(m, c.after); got != c.want {
			t.Errorf("after %v: %v", c.after, got)
		}
	}
	m.Update(gone(2 * time.Second))
	m.Update(gone(3 * time.Second))
	m.Update(gone(4 * time.Second)) // the next after 6 s
	if due(m, 5900*time.Millisecond) || !due(m, 6*time.Second) {
		t.Error("not at the time of the retry")
	}
	// r polls at once, but one poll at a time.
	m.polling = false
	if press(m, "r") == nil || !m.polling || press(m, "r") != nil {
		t.Error("r does not ask once")
	}
	// An answer ends the outage.
	m.Update(statusMsg{status: allUp().Status, at: noon.Add(7 * time.Second)})
	if m.snap.Outage != nil || !m.snap.live(noon.Add(7*time.Second)) {
		t.Errorf("%+v", m.snap.Outage)
	}
}

// An event causes a poll.
func TestEventsHurryThePoll(t *testing.T) {
	m := known(t, allUp(), sizes[0])
	m.stream, m.polled, m.now = &stream{}, noon, noon.Add(100*time.Millisecond)
	m.Update(eventsMsg{from: m.stream, events: eventsOf(noon, 10, 10)})
	if m.polling {
		t.Error("a burst of events causes a burst of polls")
	}
	m.now = noon.Add(600 * time.Millisecond)
	if m.Update(eventsMsg{from: m.stream, events: eventsOf(noon, 10, 10)}); m.polling {
		t.Error("a repeated event causes a poll")
	}
	if m.Update(eventsMsg{from: m.stream, events: eventsOf(noon, 11, 11)}); !m.polling {
		t.Error("no poll after an event")
	}
}

func TestStreamOfEvents(t *testing.T) {
	m := known(t, allUp(), sizes[0])
	m.Update(statusMsg{status: m.snap.Status, at: noon})
	first := m.stream
	if first == nil {
		t.Fatal("no stream after the first answer")
	}
	if m.Update(statusMsg{status: m.snap.Status, at: noon}); m.stream != first {
		t.Error("a second stream")
	}
	m.Update(eventsMsg{from: first, events: eventsOf(noon, 10, 11), ended: true, err: errors.New("cut off")})
	if m.stream != nil || m.snap.Deaf == nil || len(m.snap.events) != 7 {
		t.Fatalf("%+v", m.snap)
	}
	if got := m.View(); !strings.Contains(got, "none come in: cut off") {
		t.Errorf("the page does not say so:\n%s", got)
	}
	m.Update(eventsMsg{from: first, events: eventsOf(noon, 12, 13)}) // late events of the old stream
	if len(m.snap.events) != 7 {
		t.Errorf("%d events", len(m.snap.events))
	}
	if m.Update(statusMsg{status: m.snap.Status, at: noon.Add(500 * time.Millisecond)}); m.stream != nil {
		t.Error("a new stream at once")
	}
	m.Update(statusMsg{status: m.snap.Status, at: noon.Add(time.Second)})
	if m.stream == nil || m.stream == first {
		t.Fatal("no new stream")
	}
	if m.Update(eventsMsg{from: m.stream, events: eventsOf(noon, 10, 12)}); m.snap.Deaf != nil || len(m.snap.events) != 8 {
		t.Errorf("%v, %d events", m.snap.Deaf, len(m.snap.events))
	}
}

func TestOutcome(t *testing.T) {
	refused := &control.Error{Action: "read the status from", Object: "/s", Cause: errors.New("permission denied"), Remedy: "run it as root"}
	for _, c := range []struct {
		name string
		msgs []tea.Msg
		want string
	}{
		{"quit before the first answer", nil, "read the status from /nowhere: no daemon answers so far"},
		{"no daemon", []tea.Msg{gone(0)}, "read the status from /run/swerve/swerve.sock: no daemon answers: gone; start it with `systemctl start swerve` (if it does not stay, swerve check says why), or name its socket with --socket"},
		{"not allowed", []tea.Msg{statusMsg{err: refused, at: noon}}, "read the status from /s: no daemon answers: permission denied; run it as root"},
		{"seen", []tea.Msg{gone(0), statusMsg{status: allUp().Status, at: noon}}, ""},
		{"seen once", []tea.Msg{statusMsg{status: allUp().Status, at: noon}, gone(0)}, ""},
	} {
		m := quietModel(t, sizes[0])
		for _, msg := range c.msgs {
			m.Update(msg)
		}
		err := m.outcome()
		if (err == nil) != (c.want == "") || err != nil && (err.Error() != c.want || !errors.Is(err, control.ErrNoDaemon)) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

// Keys do no harm before there is anything to show, or on a terminal that is too small.
func TestKeysAtAnyTime(t *testing.T) {
	all := "up down pgup pgdown g G tab shift+tab t f p r ? esc ? ? p"
	for _, s := range []size{{}, {1, 1}, {39, 9}, {40, 10}, {80, 24}} {
		for _, snap := range []*Snapshot{{trends: trends{}}, noDaemon(), allUp(), stale()} {
			m := known(t, snap, s)
			for _, k := range strings.Fields(all) {
				press(m, k)
				m.View()
			}
		}
	}
}
