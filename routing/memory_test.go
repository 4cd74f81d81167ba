package routing

import (
	"errors"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"swerve/failover"
	"swerve/lane"
)

// countedKernel counts how often it is read.
type countedKernel struct {
	*fakeKernel
	reads  int
	unread error
}

func (k *countedKernel) Read() (State, error) {
	k.reads++
	if k.unread != nil {
		return State{}, k.unread
	}
	return k.fakeKernel.Read()
}

// slowly returns a kernel of which every reading has taken long.
func slowly(k Kernel) *Memory {
	m := Remember(k)
	m.took = [2]time.Duration{time.Hour, time.Hour}
	return m
}

// look reads the kernel as if that took long.
func (m *Memory) look(t rapid.TB) State {
	t.Helper()
	s, err := m.Look()
	if err != nil {
		t.Fatal(err)
	}
	m.took = [2]time.Duration{time.Hour, time.Hour}
	return s
}

// A goal that is applied from memory leaves the kernel as one that is applied by reading
// it does, and memory agrees with the kernel afterwards.
func TestMemoryAgreesWithTheKernel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := &countedKernel{fakeKernel: drawKernel(t)}
		m := slowly(k)
		m.look(t)
		for range rapid.IntRange(1, 3).Draw(t, "goals") {
			want := Desired(drawGoal(t, k.foreign()))
			before := k.reads
			res, err := Apply(m, want)
			if err != nil || len(res.Left) > 0 {
				t.Fatalf("apply: %v, left %v", err, res.Left)
			}
			if k.reads != before || !m.Trusted() {
				t.Errorf("the kernel was read %d times", k.reads-before)
			}
			have, _ := k.fakeKernel.Read()
			if again := Plan(want, have); len(again) != 0 {
				t.Errorf("the kernel still lacks:\n%s", lines(again))
			}
			known, _ := m.Read()
			if !slices.EqualFunc(known.Routes, have.Routes, Route.sameAs) || !slices.Equal(known.Rules, have.Rules) {
				t.Errorf("remembered\n%v\nheld\n%v", known, have)
			}
		}
	})
}

// Where a reading takes no time, a goal is applied from memory first, so that traffic does
// not wait for it, and then from the kernel: whatever the kernel and others have changed
// behind our back, it then has the goal.
func TestMemoryIsAGuess(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := &countedKernel{fakeKernel: drawKernel(t)}
		m := Remember(k)
		if _, err := m.Look(); err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 3).Draw(t, "goals") {
			keep := func() bool { return rapid.IntRange(0, 3).Draw(t, "kept") != 0 }
			k.routes = slices.DeleteFunc(k.routes, func(r Route) bool { return r.Protocol == lane.Protocol && !keep() })
			k.rules = slices.DeleteFunc(k.rules, func(Rule) bool { return !keep() })
			if rapid.Bool().Draw(t, "forgotten") {
				m.Forget()
			}
			before, changedAt := k.reads, -1
			k.after = func(Op) {
				if changedAt < 0 {
					changedAt = k.reads - before
				}
			}
			want := Desired(drawGoal(t, k.foreign()))
			guessed := len(Plan(want, m.state)) > 0
			if _, err := Apply(m, want); err != nil {
				t.Fatal(err)
			}
			if guessed && changedAt != 0 {
				t.Errorf("the first change came after %d readings", changedAt)
			}
			if k.reads == before {
				t.Error("the kernel was not read back")
			}
			have, _ := k.fakeKernel.Read()
			if again := Plan(want, have); len(again) != 0 {
				t.Errorf("the kernel still lacks:\n%s", lines(again))
			}
		}
	})
}

// A change that was refused leaves nothing to guess from.
func TestMemoryDoesNotGuessAfterARefusal(t *testing.T) {
	refused := errors.New("refused")
	k := &countedKernel{fakeKernel: &fakeKernel{refuse: func(Op) error { return refused }}}
	m := Remember(k)
	if _, ok := m.guess(); ok {
		t.Error("a guess before the first reading")
	}
	if _, err := m.Look(); err != nil {
		t.Fatal(err)
	}
	if _, ok := m.guess(); !ok {
		t.Error("no guess after a reading")
	}
	if err := m.Do(Op{Action: AddRule}); !errors.Is(err, refused) {
		t.Errorf("the change: %v", err)
	}
	if _, ok := m.guess(); ok {
		t.Error("a guess after a refusal")
	}
}

// Memory is for kernels that take long to read, and for as long as nothing is in doubt.
func TestMemoryReadsTheKernel(t *testing.T) {
	want := Desired(Goal{Layout: lane.DefaultLayout, Policies: []Policy{{Lane: lane.DefaultPolicy}}})
	refused := errors.New("refused")
	reads := func(prepare func(*countedKernel, *Memory)) (int, *Memory) {
		k := &countedKernel{fakeKernel: &fakeKernel{}}
		m := slowly(k)
		m.look(t)
		prepare(k, m)
		k.reads = 0
		if _, err := m.Read(); !errors.Is(err, k.unread) {
			t.Errorf("read: %v", err)
		}
		return k.reads, m
	}
	for name, c := range map[string]struct {
		prepare func(*countedKernel, *Memory)
		reads   int
	}{
		"slow":           {func(*countedKernel, *Memory) {}, 0},
		"slow, and used": {func(_ *countedKernel, m *Memory) { _, _ = Apply(m, want) }, 0},
		"slow only once": {func(_ *countedKernel, m *Memory) { m.took[0] = time.Microsecond }, 1},
		"quick":          {func(_ *countedKernel, m *Memory) { m.took = [2]time.Duration{1, 1} }, 1},
		"forgotten":      {func(_ *countedKernel, m *Memory) { m.Forget() }, 1},
		"a refused change": {func(k *countedKernel, m *Memory) {
			k.refuse = func(Op) error { return refused }
			_ = m.Do(Op{Action: AddRule})
		}, 1},
		"an error before": {func(k *countedKernel, m *Memory) {
			k.unread = unix.EBUSY
			_, _ = m.Look()
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			n, m := reads(c.prepare)
			if n != c.reads || m.Trusted() != (n == 0) {
				t.Errorf("read %d times, want %d; trusted: %v", n, c.reads, m.Trusted())
			}
			if _, _ = m.Look(); m.Trusted() {
				t.Error("trusted after a reading")
			}
		})
	}
}

// What a caller does with what it was told stays with the caller.
func TestMemoryIsNotShared(t *testing.T) {
	k := &fakeKernel{rules: []Rule{{Family: failover.IPv4, Priority: 5301}, {Family: failover.IPv6, Priority: 5301}}}
	m := slowly(k)
	m.look(t)
	a, _ := m.Read()
	a.Rules[0].Priority = 1
	if b, _ := m.Read(); b.Rules[0].Priority != 5301 {
		t.Errorf("memory was changed: %v", b.Rules)
	}
}
