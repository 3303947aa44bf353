# Completion of gatepost-fetch(1) for bash. Nothing is run while somebody types.

_gatepost_fetch_offer() {
    mapfile -t COMPREPLY < <(compgen "$@")
}

_gatepost_fetch_offer_paths() {
    compopt -o filenames 2>/dev/null # outside of a completion there is nothing to set
    _gatepost_fetch_offer "$@"
}

_gatepost_fetch() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}

    COMPREPLY=()
    if [[ $word == '=' ]]; then # bash takes --sent= apart
        word=
    elif [[ $before == '=' ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case $before in
        -m | --maildir | -o | --outbox | --sent) _gatepost_fetch_offer_paths -d -- "$word"; return ;;
        --ca) _gatepost_fetch_offer_paths -f -- "$word"; return ;;
        --mda | --password-command) _gatepost_fetch_offer -c -- "$word"; return ;;
        -u | --user | --sender | --fingerprint | --password-fd | --retries) return ;;
    esac
    case $word in
        -*)
            _gatepost_fetch_offer -W '-u --user -m --maildir -o --outbox --sent --sender --keep --watch --mda --ca
                --fingerprint --plain --password-fd --password-command --retries --json -q --quiet -v --verbose
                -? --help --usage -V --version' -- "$word"
            ;;
        *) _gatepost_fetch_offer -A hostname -- "$word" ;;
    esac
}

complete -F _gatepost_fetch gatepost-fetch
