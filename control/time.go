package control

import (
	"bytes"
	"time"
)

// wireTime is RFC 3339 with milliseconds, of fixed width so that lines align.
const wireTime = `"2006-01-02T15:04:05.000Z07:00"`

// Time is an instant on the wire: RFC 3339 in UTC, to the millisecond. The zero
// Time means that there is none, and is null.
type Time struct{ time.Time }

// At makes a Time of t, rounded down to what the wire carries.
func At(t time.Time) Time {
	if t.IsZero() {
		return Time{}
	}
	return Time{t.UTC().Truncate(time.Millisecond)}
}

// MarshalJSON implements json.Marshaler. A year that RFC 3339 cannot write, as a
// broken clock may give, is null.
func (t Time) MarshalJSON() ([]byte, error) {
	u := t.UTC()
	if t.IsZero() || u.Year() < 0 || u.Year() > 9999 {
		return []byte("null"), nil
	}
	return u.AppendFormat(nil, wireTime), nil
}

// UnmarshalJSON implements json.Unmarshaler: null is the zero Time.
func (t *Time) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte("null")) {
		*t = Time{}
		return nil
	}
	return t.Time.UnmarshalJSON(b)
}
