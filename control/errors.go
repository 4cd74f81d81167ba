package control

import (
	"errors"
	"strings"
)

// ErrNoDaemon is in the chain of every error that means that no daemon answers on
// the socket: there is none, it does not answer in time, or it went away.
var ErrNoDaemon = errors.New("no daemon answers")

// ErrRefused is in the chain of the error of a request that cannot be carried out as it
// is: a reload whose configuration was bad, or an uplink that does not exist. Nothing
// changed.
var ErrRefused = errors.New("the configuration is refused")

// ErrNoUplink is the cause, by [ErrRefused], of a request about an uplink that does not
// exist.
var ErrNoUplink error = &refusal{"there is no such uplink"}

// Error says what was tried on what, why it failed, and what to do about it.
type Error struct {
	// Action and Object read as one phrase, such as "read the status from" and
	// the socket's path.
	Action, Object string
	Cause          error
	// Remedy is what to do, in a phrase; may be empty.
	Remedy string
	// Problems are a bad configuration's, one a line; mostly empty.
	Problems []string
}

// Error returns it as one line: "action object: cause; remedy".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Action)
	if e.Object != "" {
		b.WriteString(" " + e.Object)
	}
	if e.Cause != nil {
		b.WriteString(": " + oneLine(e.Cause.Error()))
	}
	if e.Remedy != "" {
		b.WriteString("; " + e.Remedy)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// oneLine joins the lines of an error from elsewhere.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), ", ")
}
