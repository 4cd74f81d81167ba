package failover

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// span formats a duration for people: 182ms, 1.2s, 30s, 2m5s.
func span(d time.Duration) string {
	switch {
	case d < time.Second:
		return strconv.FormatInt(d.Round(time.Millisecond).Milliseconds(), 10) + "ms"
	case d < 10*time.Second:
		return strings.TrimSuffix(strconv.FormatFloat(d.Round(100*time.Millisecond).Seconds(), 'f', 1, 64), ".0") + "s"
	case d < 2*time.Minute:
		return strconv.FormatInt(int64(d.Round(time.Second).Seconds()), 10) + "s"
	}
	s := d.Round(time.Second).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// percent formats a ratio: 34%, 4.2%.
func percent(v float64) string {
	v *= 100
	if v >= 10 || v == math.Trunc(v) {
		return strconv.FormatFloat(math.Round(v), 'f', -1, 64) + "%"
	}
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) + "%"
}

// seconds formats a figure that is in seconds.
func seconds(v float64) string { return span(time.Duration(v * float64(time.Second))) }
