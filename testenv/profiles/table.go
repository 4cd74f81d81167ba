package main

import (
	"fmt"
	"strings"
	"time"

	"swerve/testenv/section"
)

// table is the section of the document in which the table stands.
var table = section.Section{
	Begin: "<!-- profiles: made by `make simulate`, do not edit -->\n",
	End:   "<!-- end of profiles -->\n",
}

// tableOf formats results as Markdown.
func tableOf(results []result, pl plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%g days of each line quiet, and as many used; %d outages, seed %d. ", pl.days, pl.outages, pl.seed)
	b.WriteString("Two values are of a line that nobody uses / that flows use.\n\n")
	b.WriteString("| line | shuns a day | downs a day | degradeds a day | new flows elsewhere, ppm | of these without need | an outage is left after, median–worst: idle | with traffic | for a resting modem | sessions: idle | with traffic | probes, MB a month | metered standby |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for i := range results {
		r := &results[i]
		name := r.Line
		if r.Engine != "" {
			name = "– " + r.Engine
		}
		q, u := r.Quiet, r.Used
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", name,
			both(q.Shuns, u.Shuns), both(q.Downs, u.Downs), both(q.Degradeds, u.Degradeds), both(q.Elsewhere, u.Elsewhere), both(q.Needless, u.Needless),
			r.Idle.Flows, r.Traffic.Flows, r.ToModem.Flows, r.Idle.Sessions, r.Traffic.Sessions, megabytes(r.Primary), megabytes(r.Standby))
	}
	b.WriteByte('\n')
	return b.String()
}

// linesOf says what the links are.
func linesOf(links []profile) string {
	var b strings.Builder
	b.WriteByte('\n')
	for i := range links {
		fmt.Fprintf(&b, "- %s: %s\n", links[i].name, links[i].what)
	}
	return b.String()
}

// both formats the figure of a quiet line and of a used one.
func both(quiet, used float64) string {
	a, b := number(quiet), number(used)
	if a == b {
		return a
	}
	return a + " / " + b
}

// number formats a value with three significant digits, or more if it is whole.
func number(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// String formats the median and the worst.
func (t times) String() string {
	if t.N == 0 {
		return "–"
	}
	return seconds(t.Median) + "–" + seconds(t.Worst)
}

// seconds formats a time: in milliseconds, or from two seconds on in seconds.
func seconds(d time.Duration) string {
	if d < 2*time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// megabytes formats bytes a day as megabytes in a month of 30 days.
func megabytes(perDay float64) string { return number(perDay * 30 / 1e6) }

// exceeded lists what of a result is beyond its bounds.
func exceeded(r *result, most bounds) (what []string) {
	beyond := func(name string, got, most float64) {
		if got > most {
			what = append(what, fmt.Sprintf("%s: %s, at most %s", name, number(got), number(most)))
		}
	}
	q, u := r.Quiet, r.Used
	beyond("shuns a day", max(q.Shuns, u.Shuns), most.shuns)
	beyond("downs a day", max(q.Downs, u.Downs), most.downs)
	beyond("degradeds a day", max(q.Degradeds, u.Degradeds), most.degradeds)
	beyond("ppm of new flows elsewhere without need", max(q.Needless, u.Needless), most.needless)
	if most.left == 0 {
		return what
	}
	for _, d := range []struct {
		name string
		times
	}{{"idle", r.Idle.Flows}, {"with traffic", r.Traffic.Flows}} {
		if d.N == 0 {
			what = append(what, "there was no outage, "+d.name)
		}
		beyond("seconds until an outage is left, "+d.name, d.Worst.Seconds(), most.left.Seconds())
	}
	if d, most := r.ToModem.Flows, most.left+2*slowPromotion; d.N > 0 {
		beyond("seconds until an outage is left for a resting modem", d.Worst.Seconds(), most.Seconds())
	}
	return what
}
