package daemon

import (
	"time"

	"swerve/control"
)

// problems are those that stand now, beside the ones that follow from the
// uplinks' health. Its zero value is empty.
type problems struct{ standing []control.Problem }

// set makes a problem stand while there is a cause, and go when there is none.
// One that stood already keeps its time.
func (p *problems) set(object, code string, severity control.Severity, cause error, remedy string) {
	kept := p.standing[:0:0]
	since := control.At(time.Now())
	for _, old := range p.standing {
		if old.Code == code && old.Object == object {
			since = old.Since
			continue
		}
		kept = append(kept, old)
	}
	if cause != nil {
		kept = append(kept, control.Problem{
			Code: code, Severity: severity, Object: object, Since: since, Text: cause.Error(), Remedy: remedy,
		})
	}
	p.standing = kept
}

// add makes problems stand that were found elsewhere.
func (p *problems) add(found []control.Problem) { p.standing = append(p.standing, found...) }
