package uploader

// scannedItem is one result of a batch in its usual form. The slices point
// into the answer.
type scannedItem struct {
	index      int // -1 where it is not given
	status     int
	id         []byte
	externalID []byte
}

// scanItems reads the usual answer to a batch, {"results":[{...},...]} with
// flat items, several times as fast as encoding/json does with reflection; on
// large batches that is the difference between the answer and the rest of the
// work. It reports false for anything unusual, be it wrong or only rare:
// then encoding/json has the say, and nothing of what was yielded counts.
func scanItems(b []byte, yield func(*scannedItem) bool) bool {
	s := scanner{b: b}
	if !s.byte('{') || string(s.text()) != "results" || !s.byte(':') || !s.byte('[') {
		return false
	}
	if !s.peek(']') {
		for {
			var item scannedItem
			if !s.item(&item) || !yield(&item) {
				return false
			}
			if !s.peek(',') {
				break
			}
			s.at++
		}
	}
	return s.byte(']') && s.byte('}') && s.end()
}

type scanner struct {
	b  []byte
	at int
}

func (s *scanner) space() {
	for s.at < len(s.b) && (s.b[s.at] == ' ' || s.b[s.at] == '\n' || s.b[s.at] == '\t' || s.b[s.at] == '\r') {
		s.at++
	}
}

func (s *scanner) peek(c byte) bool {
	s.space()
	return s.at < len(s.b) && s.b[s.at] == c
}

func (s *scanner) byte(c byte) bool {
	if !s.peek(c) {
		return false
	}
	s.at++
	return true
}

func (s *scanner) end() bool {
	s.space()
	return s.at == len(s.b)
}

// text reads a string without escapes, in ASCII; nil for any other.
func (s *scanner) text() []byte {
	if !s.byte('"') {
		return nil
	}
	from := s.at
	for ; s.at < len(s.b); s.at++ {
		switch c := s.b[s.at]; {
		case c == '"':
			s.at++
			return s.b[from : s.at-1 : s.at-1]
		case c < ' ' || c == '\\' || c >= 0x80:
			return nil
		}
	}
	return nil
}

// number reads a whole number without sign, and its text.
func (s *scanner) number() (n int, text []byte, ok bool) {
	s.space()
	from := s.at
	for s.at < len(s.b) && s.b[s.at] >= '0' && s.b[s.at] <= '9' && s.at-from < 15 {
		n = 10*n + int(s.b[s.at]-'0')
		s.at++
	}
	text = s.b[from:s.at:s.at]
	if len(text) == 0 || len(text) > 1 && text[0] == '0' {
		return 0, nil, false
	}
	// A fraction, an exponent or more digits are for encoding/json.
	return n, text, s.at < len(s.b) && (s.b[s.at] == ',' || s.b[s.at] == '}' || s.b[s.at] == ' ' || s.b[s.at] == '\n')
}

func (s *scanner) item(item *scannedItem) bool {
	item.index = -1
	if !s.byte('{') {
		return false
	}
	for {
		name := s.text()
		if name == nil || !s.byte(':') || !s.member(string(name), item) {
			return false
		}
		if s.byte('}') {
			return true
		}
		if !s.byte(',') {
			return false
		}
	}
}

func (s *scanner) member(name string, item *scannedItem) (ok bool) {
	switch name {
	case "index":
		item.index, _, ok = s.number()
	case "status":
		item.status, _, ok = s.number()
	case "id":
		if s.peek('"') {
			item.id = s.text()
			return item.id != nil
		}
		_, item.id, ok = s.number()
	case "external_id":
		item.externalID = s.text()
		ok = item.externalID != nil
	}
	return ok
}

// value reads a string or a number as it stands there; nil where it is neither,
// or not of the usual form.
func (s *scanner) value() []byte {
	if s.peek('"') {
		from := s.at
		if s.text() == nil {
			return nil
		}
		return s.b[from:s.at:s.at]
	}
	from := s.at
	if whole := s.digits(); whole == 0 || whole > 1 && s.b[from] == '0' {
		return nil
	}
	if s.at < len(s.b) && s.b[s.at] == '.' {
		s.at++
		if s.digits() == 0 {
			return nil
		}
	}
	return s.b[from:s.at:s.at]
}

func (s *scanner) digits() (n int) {
	for ; s.at < len(s.b) && s.b[s.at] >= '0' && s.b[s.at] <= '9'; s.at++ {
		n++
	}
	return n
}

// scanObject reads an object whose members are strings and numbers, as the
// answer to one entry usually is; seen is called with each member and its value
// as it stands there. Like scanItems it reports false for anything
// unusual, and where a name comes twice.
func scanObject(b []byte, seen func(name, value []byte) bool) bool {
	const most = 16
	var names [most][]byte
	s := scanner{b: b}
	if !s.byte('{') {
		return false
	}
	for n := range most {
		name := s.text()
		if name == nil || !s.byte(':') {
			return false
		}
		for _, other := range names[:n] {
			if string(other) == string(name) {
				return false
			}
		}
		names[n] = name
		value := s.value()
		if value == nil || !seen(name, value) {
			return false
		}
		if s.byte('}') {
			return s.end()
		}
		if !s.byte(',') {
			return false
		}
	}
	return false
}
