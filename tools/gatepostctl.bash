# Completion of gatepostctl(8) for bash. Nothing is run while somebody types.

_gatepostctl_offer() {
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2")
}

_gatepostctl_offer_files() {
    compopt -o filenames 2>/dev/null # outside of a completion there is nothing to set
    mapfile -t COMPREPLY < <(compgen -f -- "$1")
}

_gatepostctl() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command= i
    local common='--json -c --config -s --socket' choice='--user --port --from'

    if [[ $word == '=' ]]; then # bash takes --port= apart
        word=
    elif [[ $before == '=' ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case $before in
        -c | --config | -s | --socket) _gatepostctl_offer_files "$word"; return ;;
        --port) _gatepostctl_offer 'pop3 pop3s remote smtp smtp-alt submission' "$word"; return ;;
        --user | --from) return ;;
    esac
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
            -c | --config | -s | --socket | --user | --port | --from)
                [[ ${COMP_WORDS[i + 1]} == '=' ]] && ((i++))
                ((i++))
                ;;
            -*) ;;
            *) command=${command:-${COMP_WORDS[i]}} ;;
        esac
    done
    case $command,$word in
        ,-*) _gatepostctl_offer "$common --help --usage --version" "$word" ;;
        ,*) _gatepostctl_offer 'status who kick backends stats reload upgrade drain log' "$word" ;;
        who,* | kick,-*) _gatepostctl_offer "$choice $common" "$word" ;;
        kick,*) _gatepostctl_offer "$choice" "$word" ;;
        log,[!-]* | log,) _gatepostctl_offer 'error warning notice info debug' "$word" ;;
        *) _gatepostctl_offer "$common" "$word" ;;
    esac
}

complete -F _gatepostctl gatepostctl
