package control

// State is what is known of an uplink in one family, as failover.State is written
// on the wire. A newer daemon may send states that this version does not know.
type State string

// The states of failover, by their names there.
const (
	Unknown    State = "unknown"
	Absent     State = "absent"
	Up         State = "up"
	Degraded   State = "degraded"
	Suspect    State = "suspect"
	Shunned    State = "shunned"
	Down       State = "down"
	Recovering State = "recovering"
)

// Answering reports whether an uplink in this state has answered lately, as
// failover.State's method of that name does.
func (s State) Answering() bool {
	switch s {
	case Up, Degraded, Suspect, Recovering:
		return true
	}
	return false
}

// troubled reports whether the state deserves a warning.
func (s State) troubled() bool {
	return s == Down || s == Shunned || s == Degraded
}
