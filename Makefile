# imgtools. `make help` lists what there is to make.

PREFIX  = /usr/local
bindir  = $(PREFIX)/bin
mandir  = $(PREFIX)/share/man
DESTDIR =

VERSION := $(or $(VERSION),$(shell git describe --tags --always --dirty 2>/dev/null),unknown)
FUZZTIME = 60s

TOOLS = $(notdir $(wildcard cmd/img-*))
MODULE = github.com/imgtools/imgtools
# The same source and version give the same bytes in any directory.
BUILD = go build -trimpath -buildvcs=false -ldflags "-s -w -X $(MODULE)/lib/cli.Version=$(VERSION)"

# Tests sync what they write, which on a busy disk takes most of their time: they
# write to memory where there is plenty that programs may be run from.
SHM := $(shell grep -q '^[^ ]* /dev/shm tmpfs [^ ]*noexec' /proc/mounts || \
	df --output=avail /dev/shm 2>/dev/null | awk 'NR == 2 && $$1 > 6000000 { print "/dev/shm" }')
GOTEST = $(if $(SHM),TMPDIR=$(SHM)) go test -timeout 20m

export CGO_ENABLED = 0

.PHONY: all img demo test race fuzz bench lint shape install install-img dist clean help tools

all: ## build every tool and img into bin/
	$(BUILD) -o bin/ ./cmd/...

img: ## build only img, all the tools in one binary, into bin/
	$(BUILD) -o bin/ ./cmd/img

demo: ## show the tools at work on a registry started for it
	test/demo.sh

test: tools all lint ## everything that CI checks (as root, on Debian 12)
	$(GOTEST) -count=1 ./...
	$(MAKE) -C bench test
	$(MAKE) race

race: ## the library's tests under the race detector
	CGO_ENABLED=1 $(GOTEST) -race $$(go list ./lib/... | grep -v '/lib$$')

fuzz: ## every fuzz target for FUZZTIME each (60s)
	@grep -rl --include='*_test.go' '^func Fuzz' lib | xargs -n 1 dirname | sort -u | while read -r dir; do \
		go test -list '^Fuzz' "./$$dir" </dev/null | grep '^Fuzz' | while read -r target; do \
			echo "$$dir $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5x "./$$dir" </dev/null || exit 1; \
		done || exit 1; \
	done

bench: img ## time the tools beside their peers; `make -C bench help` for more
	$(MAKE) -C bench quick

lint: tools ## gofmt, vet, staticcheck, and mandoc on the man pages
	@bad=$$(gofmt -l cmd lib test bench); test -z "$$bad" || { echo "not gofmt-ed: $$bad"; exit 1; }
	go vet ./...
	test/.bin/staticcheck ./...
	cd bench && ../test/.bin/staticcheck ./...
	mandoc -T lint -W warning man/*.[157]

shape: ## figures of the code beside their budgets
	go test -count=1 -run Shape -v ./lib

tools: ## install what the tests need that is missing
	test/install.sh

install: all ## install the single tools and the man pages
	install -d "$(DESTDIR)$(bindir)"
	install -m 755 $(TOOLS:%=bin/%) "$(DESTDIR)$(bindir)"
	$(INSTALL_MAN)

install-img: img ## install img with a link for each tool, and the man pages
	install -d "$(DESTDIR)$(bindir)"
	install -m 755 bin/img "$(DESTDIR)$(bindir)"
	"$(DESTDIR)$(bindir)/img" --install "$(DESTDIR)$(bindir)"
	$(INSTALL_MAN)

INSTALL_MAN = for f in man/*.[157]; do \
		install -D -m 644 "$$f" "$(DESTDIR)$(mandir)/man$${f\#\#*.}/$${f\#man/}" || exit 1; \
	done

dist: ## static tarballs of img and the man pages, with checksums, into dist/
	rm -rf dist
	@for arch in amd64 arm64; do \
		name=imgtools-$(VERSION)-linux-$$arch; \
		mkdir -p dist/$$name/man && \
		GOOS=linux GOARCH=$$arch $(BUILD) -o dist/$$name/ ./cmd/img && \
		cp -p LICENSE README.md CHANGELOG.md dist/$$name/ && cp man/*.[157] dist/$$name/man/ && \
		tar -C dist --sort=name --owner=0 --group=0 --numeric-owner --mode=a+rX,u+w,go-w --mtime=@0 -cf - $$name | \
			gzip -9n >dist/$$name.tar.gz && \
		rm -r dist/$$name || exit 1; \
	done
	cd dist && sha256sum *.tar.gz | tee SHA256SUMS

clean: ## remove what was built
	rm -rf bin dist test/.bin

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | expand -t 14
