package daemon

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"swerve/failover"
)

// stalls are the longest silences of each hour with evidence, by uplink and family, the
// present hour last.
type stalls map[string]map[string][]hour

// hour is a [failover.Hour] in the state file: its silences in milliseconds, as "230 90 0".
type hour failover.Hour

// MarshalText implements encoding.TextMarshaler.
func (h hour) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%d %d %d", h[0].Milliseconds(), h[1].Milliseconds(), h[2].Milliseconds()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *hour) UnmarshalText(text []byte) error {
	words := strings.Fields(string(text))
	if len(words) != len(h) {
		return fmt.Errorf("silences %q are not three numbers", text)
	}
	for i, word := range words {
		ms, err := strconv.ParseUint(word, 10, 32)
		if h[i] = time.Duration(ms) * time.Millisecond; err != nil || h[i] > mostSilence {
			return fmt.Errorf("silence %q is not 0 to %d", word, mostSilence.Milliseconds())
		}
	}
	return nil
}

const (
	// mostHours bounds what the file has of a family.
	mostHours = 25
	// mostSilence bounds what the file has as a silence: a down ends before.
	mostSilence = 5 * time.Minute
)

func (all stalls) check() error {
	for name, families := range all {
		for family, hours := range families {
			if len(hours) > mostHours {
				return fmt.Errorf("%d hours with silences of uplink %q in %s, more than %d", len(hours), name, family, mostHours)
			}
		}
	}
	return nil
}

// silencesOf returns what the view remembers; nil for nothing.
func silencesOf(view failover.View) stalls {
	var all stalls
	for _, u := range view.Uplinks {
		for _, f := range failover.Families {
			list := u.Family[f].Silences
			if len(list) == 0 {
				continue
			}
			if all == nil {
				all = stalls{}
			}
			if all[u.Name] == nil {
				all[u.Name] = map[string][]hour{}
			}
			hours := make([]hour, len(list))
			for i, h := range list {
				for j, d := range h {
					hours[i][j] = min(d, mostSilence)
				}
			}
			all[u.Name][f.String()] = hours
		}
	}
	return all
}

// adopted returns them as the engine takes them.
func (all stalls) adopted() map[string][2][]failover.Hour {
	out := map[string][2][]failover.Hour{}
	for name, families := range all {
		var both [2][]failover.Hour
		for _, f := range failover.Families {
			for _, h := range families[f.String()] {
				both[f] = append(both[f], failover.Hour(h))
			}
		}
		out[name] = both
	}
	return out
}
