package sandbox

import "slices"

// Mark says how sure a behaviour is.
type Mark string

// How sure the sandbox is of what it does.
const (
	// Documented is what Tally's documents or its own public code say.
	Documented Mark = "documented"
	// Observed is what somebody recorded of the live API.
	Observed Mark = "observed"
	// Assumed is a choice of the sandbox: nobody knows.
	Assumed Mark = "assumed"
)

// Behaviour is one thing the sandbox does because Tally does, or may. The code
// refers to it by [behaviour ID].
type Behaviour struct {
	ID      string `json:"id"`
	Mark    Mark   `json:"mark"`
	Summary string `json:"summary"`
}

// Behaviours lists them all, by id.
func Behaviours() []Behaviour {
	list := slices.Concat(accessBehaviours, formBehaviours, answerBehaviours, teamBehaviours)
	slices.SortFunc(list, func(a, b Behaviour) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return list
}

var accessBehaviours = []Behaviour{
	{"unauthorized-text", Observed, "401 is the plain text Unauthorized, not JSON"},
	{"plan-gate-401", Observed, "on FREE the block routes, the question rename, creating workspaces and all folder routes answer 401"},
	{"revoked-key", Assumed, "a revoked key answers 401; 403 and 404 can be chosen"},
	{"forbidden-json", Assumed, "another user's object answers 403 with a message in JSON; only clients' code shows it"},
	{"not-found-json", Assumed, "404 is JSON with a message such as Form was not found; only a client's test shows it"},
	{"unknown-route", Assumed, "an unknown path or verb answers 404 in JSON and paths are never redirected"},
	{"edge-user-agent", Observed, "the user agent Python-urllib answers 403 error code: 1010; so, assumed, does a missing one"},
	{"rate-limit", Documented, "100 requests a minute; the scope (key), the fixed window, the body and the missing Retry-After are assumed"},
	{"version-bare-arrays", Documented, "tally-version before 2025-02-01 makes GET /forms and GET /workspaces bare arrays"},
	{"version-malformed", Assumed, "a tally-version that is no date answers 400; without one the latest version is used"},
	{"unknown-query", Observed, "unknown query parameters answer 400 object.unknown"},
	{"limit-over-max", Assumed, "a limit above the maximum answers 400; an older report says it was clamped"},
	{"joi-envelope", Observed, "400 is {message, errorType, errors[]} with the first violation only and its top-level key as field"},
	{"body-content-type", Assumed, "a body that is not declared as JSON counts as empty"},
	{"check-order", Assumed, "checks run in the order edge, key, rate, version, plan, query, body"},
	{"me-timezone-writes", Assumed, "GET /users/me stores the timezone it is given; one report says so, another that it only formats"},
}

var formBehaviours = []Behaviour{
	{"list-shows-trash", Observed, "GET /forms lists trashed forms with status DELETED"},
	{"trash", Documented, "DELETE of a form moves it to the trash with its submissions; DELETED is refused on write"},
	{"trashed-form", Assumed, "reading a trashed form answers 404; 401 and 403 can be chosen"},
	{"default-workspace", Assumed, "a form created without workspace goes to the caller's first one"},
	{"create-answer", Documented, "create and update answer metadata without settings and blocks"},
	{"blocks-replaced", Documented, "PATCH with blocks replaces the whole array"},
	{"settings-patch", Assumed, "PATCH merges settings; replacing can be chosen"},
	{"settings-keys", Observed, "reading shows all settings keys, some missing from the schema; unknown ones are, assumed, refused"},
	{"name-from-title", Documented, "the name comes from FORM_TITLE unless it was set"},
	{"html-to-schema", Observed, "html is read back as safeHTMLSchema; the attribute names for underline are assumed"},
	{"block-types", Observed, "type and groupType must be one of 47 names, listed in the recorded order"},
	{"block-payloads", Documented, "malformed payloads answer 400; unknown payload keys are, assumed, tolerated"},
	{"title-shares-group", Observed, "TITLE or LABEL in the group of an input answers 400; the envelope is assumed"},
	{"character-limits", Observed, "min and max characters are refused on inputs other than INPUT_TEXT and TEXTAREA"},
	{"scale-labels", Documented, "a scale label is required when its flag is true"},
	{"dropdown-options", Observed, "colorCodeOptions, hasBadge and badgeType are refused on dropdowns, allowMultiple unless false"},
	{"checkbox-comparisons", Observed, "IS, IS_NOT, IS_ANY_OF, IS_NOT_ANY_OF are refused for CHECKBOXES; the envelope is assumed"},
	{"blocks-wrapper", Documented, "GET blocks answers {id, name, blocks}"},
	{"blocks-patch-answer", Assumed, "PATCH blocks answers as GET does; the schema types a single block"},
	{"questions-need-title", Observed, "only inputs after a TITLE or LABEL are questions; hidden and calculated fields always are"},
	{"question-fields", Observed, "INPUT_FIELD and one field per matrix row; HIDDEN_FIELD and CALCULATED_FIELD are assumed"},
	{"question-identity", Assumed, "a question keeps its id while its group stays, and is shown as deleted after while it has responses"},
}

var answerBehaviours = []Behaviour{
	{"stored-seconds", Documented, "a submission's time is in whole seconds; the event that delivers it tells milliseconds"},
	{"newest-first", Observed, "submissions come newest first"},
	{"questions-each-page", Observed, "every page of submissions repeats the questions"},
	{"totals-whole-form", Observed, "the totals count the whole form whatever the filter"},
	{"after-id", Documented, "afterId keeps what is newer than that submission"},
	{"after-id-unknown", Assumed, "an unknown or deleted afterId gives an empty page"},
	{"choice-labels", Observed, "choices answer labels, a matrix row id to column labels; ids can be chosen"},
	{"other-text", Assumed, "the text typed under Other stands among the labels"},
	{"hidden-answer", Assumed, "hidden fields answer an object by name, and nothing when none has a value"},
	{"calculated-answer", Assumed, "calculated fields answer an object by name, a single one its value"},
	{"payment-answer", Assumed, "a payment answers {price, currency, name, email, link}"},
	{"formatted-answer", Documented, "formattedAnswer is there only for numbers with custom formatting"},
	{"signed-urls", Observed, "file links carry an access token and a signature and never expire; submission links are assumed alike"},
	{"submit-open-forms", Assumed, "only published, open forms below their limit take answers"},
	{"analytics-period", Documented, "period is required; it counts back from now, in UTC days"},
	{"analytics-figures", Assumed, "figures follow from the submissions; the completion rate differs between metrics and drop-off as observed"},
	{"analytics-buckets", Assumed, "visits and submissions come in days"},
	{"delivery-payload", Documented, "a delivery has the documented shape; unanswered questions stay with null"},
	{"delivery-other", Assumed, "the text typed under Other becomes one more option"},
	{"delivery-completed-only", Assumed, "partial submissions are not delivered"},
	{"delivery-signature", Documented, "Tally-Signature is base64 of HMAC-SHA256 over the body"},
	{"delivery-limit", Documented, "a receiver has 10 seconds to answer 2xx"},
	{"delivery-retries", Documented, "retries after 5 min, 30 min, 1 h, 6 h and 1 day, then the event is dropped"},
}

var teamBehaviours = []Behaviour{
	{"webhooks-never-used", Observed, "GET /webhooks answers 401 until the account first had a webhook"},
	{"webhook-create-answer", Observed, "creating a webhook answers five keys only"},
	{"webhook-full-replace", Documented, "PATCH of a webhook replaces everything; the subscriber stays, assumed"},
	{"empty-answers", Observed, "PATCH of a webhook answers an empty body; of a workspace or folder too, by the schema; 200 is assumed"},
	{"events-newest-first", Assumed, "events come newest first, 25 a page"},
	{"event-retry", Assumed, "a retry by hand sends the same payload once and answers 204"},
	{"event-statuses", Assumed, "an event is FAILED while retries remain and DROPPED after the last"},
	{"bare-lists", Observed, "organization users, invites and folders are bare arrays; users there carry no plan"},
	{"remove-user", Documented, "the creator removes anyone, others only themselves; the removed user's keys die"},
	{"invite-emails-string", Documented, "emails is one string with commas or semicolons, workspaceIds an array"},
	{"invite-create-status", Assumed, "creating invites answers 204"},
	{"cancel-invite", Documented, "only its creator cancels an invite"},
	{"workspaces-limit", Observed, "GET /workspaces refuses limit and answers limit 50"},
	{"workspace-members", Assumed, "a new workspace has its creator as only member"},
	{"workspace-trash", Documented, "deleting a workspace trashes its forms"},
	{"folder-subtree", Documented, "deleting a folder takes its subtree and trashes the forms inside"},
}
