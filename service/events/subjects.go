package events

import (
	"strconv"
	"strings"
)

// Subjects of the log. Ids have no dot and no wildcard in them, which the intake sees to.

// eventSubject is under which all is stored that happened to a submission: so the engine's index knows each, and the last of it.
func eventSubject(form, submission string) string { return "ev." + form + "." + submission }

func isEvent(subject string) bool { return strings.HasPrefix(subject, "ev.") }

// formFilter matches all events of a form, allForms those of all.
func formFilter(form string) string { return "ev." + form + ".*" }

const allForms = "ev.>"

// erasedSubject marks that a submission was deleted and the entry at a sequence erased; 0 for none.
func erasedSubject(form string, sequence uint64, submission string) string {
	return "er." + form + "." + strconv.FormatUint(sequence, 10) + "." + submission
}

// erasedAt matches the mark of an erased entry: a reader who misses it looks here. erasedOf matches those of a form.
func erasedAt(form string, sequence uint64) string { return erasedSubject(form, sequence, "*") }

func erasedOf(form string) string { return "er." + form + ".*.*" }

// conflictSubject keeps aside a delivery of a submission that says something else than the first.
func conflictSubject(form, submission string, checksum uint32) string {
	return "cf." + form + "." + submission + "." + strconv.FormatUint(uint64(checksum), 16)
}

// conflictSubjects matches what is kept aside of a submission.
func conflictSubjects(form, submission string) string { return "cf." + form + "." + submission + ".*" }

// conflictsOf matches what is kept aside of a form.
func conflictsOf(form string) string { return "cf." + form + ".>" }

// endSubject marks where the log of a form ended that nobody watched for long.
func endSubject(form string) string { return "en." + form }

// formOf returns the form of a subject.
func formOf(subject string) string {
	_, rest, _ := strings.Cut(subject, ".")
	form, _, _ := strings.Cut(rest, ".")
	return form
}

// submissionOf returns the submission of an event's subject.
func submissionOf(subject string) string { return subject[strings.LastIndexByte(subject, '.')+1:] }

// isID tells whether a text is an id as the contract has it.
func isID(text string) bool {
	other := func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
	}
	return text != "" && len(text) <= 64 && strings.IndexFunc(text, other) < 0
}
