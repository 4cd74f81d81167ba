package routing

import (
	"slices"
	"time"
)

// longRead is how long a reading takes that an apply does without. An ordinary machine
// is read in a fraction of a millisecond; with a full table of the internet's routes it
// takes tens.
const longRead = 3 * time.Millisecond

// Memory is a kernel whose routes and rules are remembered from the last reading, with
// the changes made since. Where a reading takes long, [Memory.Read] answers from that,
// so that a switch does not wait for it; whoever applies a goal then compares later.
// After a refused change, or [Memory.Forget], the kernel is read again. [Apply] begins
// with what is remembered in any case, so that routes move before the first reading.
type Memory struct {
	kernel Kernel
	state  State
	// known: the kernel holds the state unless another program has changed it. likely: it
	// may also have changed routes by itself, as it does with devices.
	known, likely bool
	// took are the durations of the last two readings, of which the shorter one counts,
	// since this machine may pause.
	took [2]time.Duration
	// trusted: a Read was answered from memory, and nothing was looked at since.
	trusted bool
}

// Remember returns a kernel of which nothing is remembered yet.
func Remember(k Kernel) *Memory { return &Memory{kernel: k} }

// Read returns the routes and rules of ours that the kernel holds, or held according to
// memory.
func (m *Memory) Read() (State, error) {
	if m.answers() {
		m.trusted = true
		return m.recall().clone(), nil
	}
	return m.Look()
}

// answers reports whether a Read is answered from memory.
func (m *Memory) answers() bool { return m.known && min(m.took[0], m.took[1]) > longRead }

// guess returns what the kernel is likely to hold, for changes that are checked by a
// reading; false if there is no guess, or if a Read returns the same. It is valid until
// the next change.
func (m *Memory) guess() (State, bool) {
	if !m.likely || m.answers() {
		return State{}, false
	}
	return m.recall(), true
}

func (m *Memory) recall() State {
	m.state.sort() // the changes since the reading come last
	return m.state
}

// Look reads the kernel, however long it takes.
func (m *Memory) Look() (State, error) {
	begun := time.Now()
	s, err := m.kernel.Read()
	m.took[0], m.took[1] = m.took[1], time.Since(begun)
	m.known, m.likely, m.trusted = err == nil, err == nil, false
	m.state = s.clone()
	return s, err
}

// Do makes one change, and remembers it.
func (m *Memory) Do(op Op) error {
	if err := m.kernel.Do(op); err != nil {
		m.known, m.likely = false, false
		return err
	}
	m.state.take(op)
	return nil
}

// Forget has the kernel read again next time: something that changes routes by itself
// has happened, such as to a device.
func (m *Memory) Forget() { m.known = false }

// Trusted reports whether what was read last came from memory, so that a comparison is
// owed.
func (m *Memory) Trusted() bool { return m.trusted }

func (s State) clone() State {
	return State{slices.Clone(s.Routes), slices.Clone(s.Rules), slices.Clone(s.early)}
}

// take makes a change that the kernel has made. What is added comes last: it is sorted
// when the state is asked for, not with each of the many changes of a switch.
func (s *State) take(op Op) {
	inSlot := func(r Route) bool { return r.Slot == op.Route.Slot }
	same := func(r Rule) bool { return r == op.Rule }
	switch op.Action {
	case ReplaceRoute, AddRoute:
		if i := slices.IndexFunc(s.Routes, inSlot); i >= 0 {
			s.Routes = slices.Delete(s.Routes, i, i+1)
		}
		s.Routes = append(s.Routes, op.Route)
	case DeleteRoute:
		if i := slices.IndexFunc(s.Routes, op.Route.sameAs); i >= 0 {
			s.Routes = slices.Delete(s.Routes, i, i+1)
		}
	case AddRule:
		s.Rules = append(slices.DeleteFunc(s.Rules, same), op.Rule)
	case DeleteRule:
		s.Rules, s.early = slices.DeleteFunc(s.Rules, same), slices.DeleteFunc(s.early, same)
	}
}
