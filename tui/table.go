package tui

// gap is the space between two columns of a table.
const gap = 2

// column is a column of a table.
type column struct {
	title string
	width int
	right bool // its cells are aligned to the right
	close bool // it belongs to the column before it: one space between them
	// rank is the order in which columns are left out of a table that is too wide, the
	// highest first; 0 stays.
	rank int
	// grow is by how many cells it may become wider where the table has room.
	grow int
}

// cell is the content of a column in one row. A cell that is drawn as wide as its
// column, such as a trend, has fill instead of a text.
type cell struct {
	span
	fill func(width int) span
}

func textCell(how tone, text string) cell { return cell{span: say(how, text)} }

// table is a set of columns, laid out for a width.
type table struct {
	columns  []column
	widths   []int // 0: the column is left out
	ellipsis string
}

// table lays columns out in room cells: it decides which are shown and how wide each is.
func (c *canvas) table(room int, cols ...column) table {
	t := table{cols, make([]int, len(cols)), c.ellipsis}
	for i, col := range cols {
		t.widths[i] = col.width
	}
	for t.total() > room && t.dropOne() {
	}
	for spare := room - t.total(); spare > 0 && t.growBy(&spare); {
	}
	return t
}

// total returns the width of the whole table.
func (t table) total() (n int) {
	for i, w := range t.widths {
		if w > 0 {
			n += w + t.gapBefore(i, n == 0)
		}
	}
	return n
}

func (t table) gapBefore(i int, first bool) int {
	switch {
	case first:
		return 0
	case t.columns[i].close && t.widths[i-1] > 0:
		return 1
	}
	return gap
}

// dropOne leaves out the column of the highest rank, and reports whether one has a
// rank.
func (t table) dropOne() bool {
	worst := -1
	for i, c := range t.columns {
		if t.widths[i] > 0 && c.rank > 0 && (worst < 0 || c.rank > t.columns[worst].rank) {
			worst = i
		}
	}
	if worst >= 0 {
		t.widths[worst] = 0
	}
	return worst >= 0
}

// growBy gives one cell of the spare ones to each column that may grow, so that those
// grow alike, and reports whether there were enough.
func (t table) growBy(spare *int) bool {
	var growing []int
	for i, c := range t.columns {
		if t.widths[i] > 0 && t.widths[i] < c.width+c.grow {
			growing = append(growing, i)
		}
	}
	if len(growing) == 0 || *spare < len(growing) {
		return false
	}
	for _, i := range growing {
		t.widths[i]++
	}
	*spare -= len(growing)
	return true
}

// row lays cells out in the columns; missing cells are empty.
func (t table) row(cells ...cell) line {
	var l line
	for i, w := range t.widths {
		if w == 0 {
			continue
		}
		l = append(l, blank(t.gapBefore(i, len(l) == 0)))
		var c cell
		if i < len(cells) {
			c = cells[i]
		}
		l = append(l, t.place(i, c)...)
	}
	return l
}

// place cuts or fills a cell to the width of its column.
func (t table) place(i int, c cell) line {
	w := t.widths[i]
	s := c.span
	if c.fill != nil {
		s = c.fill(w)
	}
	s.text = cut(s.text, w, t.ellipsis)
	space := blank(w - s.columns())
	if t.columns[i].right {
		return line{space, s}
	}
	return line{s, space}
}

// head returns the row of titles.
func (t table) head() line {
	cells := make([]cell, len(t.columns))
	for i, c := range t.columns {
		cells[i] = textCell(faint, c.title)
	}
	return t.row(cells...)
}
