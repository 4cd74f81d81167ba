// Package target defines what a probe target may be, as text and in parts, and how
// many bytes probing it takes on the wire. The configuration reads targets and
// the link monitor probes them; both must interpret a text in the same way. The
// decision engine knows only the text of a target.
package target
