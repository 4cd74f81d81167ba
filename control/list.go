package control

import "encoding/json"

// List is a slice that is [] on the wire when it is nil, never null: a client may
// loop over it without a check.
type List[T any] []T

// MarshalJSON implements json.Marshaler.
func (l List[T]) MarshalJSON() ([]byte, error) {
	if l == nil {
		return []byte("[]"), nil
	}
	return json.Marshal([]T(l))
}
