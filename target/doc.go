// Package target has what a probe target may be, as text and in parts, and what
// probing it costs on the wire. The configuration reads targets and the link
// monitor asks them; both must understand a text alike. The decision engine
// knows a target by its text only.
package target
